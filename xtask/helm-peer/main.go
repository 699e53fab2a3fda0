// Helm's own engine behind a line protocol: what Mainstay's rendering is compared and measured against.
//
// Every line of standard input is a request as JSON, every line of standard output its answer. Charts and values
// travel as file bytes, so that neither side reads files while it is measured.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
	"helm.sh/helm/v4/pkg/action"
	"helm.sh/helm/v4/pkg/chart/common"
	"helm.sh/helm/v4/pkg/chart/loader/archive"
	chart "helm.sh/helm/v4/pkg/chart/v2"
	"helm.sh/helm/v4/pkg/chart/v2/loader"
	cli "helm.sh/helm/v4/pkg/cli/values"
	release "helm.sh/helm/v4/pkg/release/v1"
)

type file struct {
	Name string `json:"name"`
	Data []byte `json:"data"`
}

type set struct {
	Kind string `json:"kind"`
	Expr string `json:"expr"`
}

type request struct {
	// A chart is sent once (Key and Files, or Key and Path) and named by its key afterwards.
	Key         string   `json:"key"`
	Files       []file   `json:"files,omitempty"`
	Path        string   `json:"path,omitempty"`
	Values      []string `json:"values,omitempty"`
	Sets        []set    `json:"sets,omitempty"`
	KubeVersion string   `json:"kubeVersion,omitempty"`
	APIVersions []string `json:"apiVersions,omitempty"`
	// Render so many times, measuring each, and answer with times only.
	Repeat int `json:"repeat,omitempty"`
	// Forget the chart after the answer.
	Forget bool `json:"forget,omitempty"`
}

type document struct {
	Source string `json:"source"`
	Text   string `json:"text"`
}

type answer struct {
	Manifest string     `json:"manifest"`
	Hooks    []document `json:"hooks"`
	Notes    string     `json:"notes"`
	Error    string     `json:"error"`
	// Nanoseconds of each repetition.
	Times []int64 `json:"times,omitempty"`
}

// peer remembers the bytes of charts by key, never anything made from them.
type peer struct{ charts map[string]request }

func main() {
	runtime.GOMAXPROCS(1)
	in := bufio.NewReaderSize(os.Stdin, 1<<20)
	out := bufio.NewWriter(os.Stdout)
	encoder := json.NewEncoder(out)
	encoder.SetEscapeHTML(false)
	decoder := json.NewDecoder(in)
	p := peer{charts: map[string]request{}}
	for decoder.More() {
		var r request
		if err := decoder.Decode(&r); err != nil {
			fmt.Fprintln(os.Stderr, "read a request:", err)
			os.Exit(1)
		}
		if err := encoder.Encode(p.answer(r)); err != nil {
			fmt.Fprintln(os.Stderr, "write an answer:", err)
			os.Exit(1)
		}
		if err := out.Flush(); err != nil {
			os.Exit(1)
		}
	}
}

func (p *peer) answer(r request) answer {
	if r.Files != nil || r.Path != "" {
		p.charts[r.Key] = r
	}
	known := p.charts[r.Key]
	r.Files, r.Path = known.Files, known.Path
	if r.Forget {
		delete(p.charts, r.Key)
	}
	if r.Repeat == 0 {
		return render(r)
	}
	var times []int64
	for range r.Repeat {
		start := processorTime()
		result := render(r)
		times = append(times, processorTime()-start)
		if result.Error != "" {
			return result
		}
	}
	return answer{Times: times}
}

// processorTime is what the process has used, in nanoseconds: other work on the machine does not count.
func processorTime() int64 {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_PROCESS_CPUTIME_ID, &now); err != nil {
		panic(err)
	}
	return now.Nano()
}

func render(r request) (result answer) {
	defer func() {
		if problem := recover(); problem != nil {
			result.Error = fmt.Sprintf("panic: %v\n%s", problem, debug.Stack())
		}
	}()
	loaded, err := load(r)
	if err != nil {
		return answer{Error: err.Error()}
	}
	values, err := values(r)
	if err != nil {
		return answer{Error: err.Error()}
	}
	install := action.NewInstall(new(action.Configuration))
	install.DryRunStrategy = action.DryRunClient
	install.ReleaseName = "demo"
	install.Namespace = "demo"
	install.Replace = true
	install.APIVersions = r.APIVersions
	if r.KubeVersion != "" {
		version, err := common.ParseKubeVersion(r.KubeVersion)
		if err != nil {
			return answer{Error: err.Error()}
		}
		install.KubeVersion = version
	}
	done, err := install.Run(loaded, values)
	if err != nil {
		return answer{Error: err.Error()}
	}
	made, ok := done.(*release.Release)
	if !ok {
		return answer{Error: fmt.Sprintf("a release of type %T", done)}
	}
	result = answer{Manifest: made.Manifest, Notes: made.Info.Notes}
	for _, hook := range made.Hooks {
		result.Hooks = append(result.Hooks, document{hook.Path, hook.Manifest})
	}
	return result
}

func load(r request) (*chart.Chart, error) {
	if r.Path != "" {
		return loader.Load(r.Path)
	}
	files := make([]*archive.BufferedFile, 0, len(r.Files))
	for _, one := range r.Files {
		// Loading takes prefixes off the names, so it gets a list of its own.
		files = append(files, &archive.BufferedFile{Name: one.Name, Data: one.Data})
	}
	return loader.LoadFiles(files)
}

func values(r request) (map[string]any, error) {
	slices.Sort(r.APIVersions)
	if len(r.Sets) > 0 {
		return merged(r)
	}
	base := map[string]any{}
	for _, text := range r.Values {
		current, err := loader.LoadValues(strings.NewReader(text))
		if err != nil {
			return nil, fmt.Errorf("failed to parse values: %w", err)
		}
		base = loader.MergeMaps(base, current)
	}
	return base, nil
}

// merged is values with parameters, as Helm's command line reads them: from files.
func merged(r request) (map[string]any, error) {
	directory, err := os.MkdirTemp("", "helm-peer")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(directory)
	var options cli.Options
	for at, text := range r.Values {
		path := filepath.Join(directory, fmt.Sprintf("%d.yaml", at))
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			return nil, err
		}
		options.ValueFiles = append(options.ValueFiles, path)
	}
	for _, one := range r.Sets {
		switch one.Kind {
		case "set-json":
			options.JSONValues = append(options.JSONValues, one.Expr)
		case "set":
			options.Values = append(options.Values, one.Expr)
		case "set-string":
			options.StringValues = append(options.StringValues, one.Expr)
		case "set-literal":
			options.LiteralValues = append(options.LiteralValues, one.Expr)
		default:
			return nil, fmt.Errorf("no parameters of kind %q", one.Kind)
		}
	}
	return options.MergeValues(nil)
}
