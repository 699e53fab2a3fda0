// Builds kustomizations with real kustomize: one JSON object a line in, one a line out.
//
//	{"path": "overlay", "files": {"overlay/kustomization.yaml": "…base64…"}, "flags": {"reorder": "none"}}
//	{"output": "…"} or {"error": "…"}
//
// Files lie in memory, so that a case costs no process and no disk.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"os"
	"path"

	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/api/types"
	"sigs.k8s.io/kustomize/kyaml/filesys"
)

type request struct {
	Path  string            `json:"path"`
	Files map[string][]byte `json:"files"`
	Flags struct {
		Reorder  string `json:"reorder"`
		Restrict string `json:"load_restrictor"`
	} `json:"flags"`
}

type answer struct {
	Output *string `json:"output,omitempty"`
	Error  string  `json:"error,omitempty"`
}

func main() {
	// Warnings about deprecated fields are not compared.
	log.SetOutput(io.Discard)
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err == nil {
		os.Stderr = null
	}
	in := bufio.NewReaderSize(os.Stdin, 1<<20)
	out := bufio.NewWriter(os.Stdout)
	decoder, encoder := json.NewDecoder(in), json.NewEncoder(out)
	encoder.SetEscapeHTML(false)
	for {
		var asked request
		if err := decoder.Decode(&asked); err == io.EOF {
			return
		} else if err != nil {
			fmt.Fprintln(os.Stdout, `{"error": "the request is no JSON"}`)
			os.Exit(1)
		}
		if err := encoder.Encode(build(asked)); err != nil {
			os.Exit(1)
		}
		if err := out.Flush(); err != nil {
			os.Exit(1)
		}
	}
}

func build(asked request) (found answer) {
	defer func() {
		if reason := recover(); reason != nil {
			found = answer{Error: fmt.Sprintf("panic: %v", reason)}
		}
	}()
	files := filesys.MakeFsInMemory()
	for name, content := range asked.Files {
		if err := files.WriteFile(path.Join("/", name), content); err != nil {
			return answer{Error: err.Error()}
		}
	}
	options := krusty.MakeDefaultOptions()
	options.Reorder = krusty.ReorderOptionLegacy
	if asked.Flags.Reorder == "none" {
		options.Reorder = krusty.ReorderOptionNone
	}
	if asked.Flags.Restrict == "none" {
		options.LoadRestrictions = types.LoadRestrictionsNone
	}
	built, err := krusty.MakeKustomizer(options).Run(files, path.Join("/", asked.Path))
	if err != nil {
		return answer{Error: err.Error()}
	}
	text, err := built.AsYaml()
	if err != nil {
		return answer{Error: err.Error()}
	}
	output := string(text)
	return answer{Output: &output}
}
