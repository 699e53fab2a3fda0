//! `mainstay render` beside the real `helm template` and `kubectl kustomize`: no root, no data directory.

use std::path::Path;
use std::process::{Command, Output};

use tempfile::TempDir;
use test_kit::{FileServer, ImageRegistry, Repository, find_program, shared};

/// The version that charts see where nothing else is asked for: that of the embedded API.
fn kube_version() -> &'static str {
    apiserver::KUBERNETES_VERSION.trim_start_matches('v')
}

/// A directory to stand in, with a home of its own.
struct World(TempDir);

impl World {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a temporary directory"))
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.0.path().join(path);
        std::fs::create_dir_all(path.parent().expect("a file has a directory")).expect("create it");
        std::fs::write(path, text).expect("write a file");
    }

    fn run(&self, program: &Path, arguments: &[&str]) -> Output {
        Command::new(program)
            .current_dir(self.0.path())
            .env_clear()
            .env("HOME", self.0.path())
            .args(arguments)
            .output()
            .expect("start it")
    }

    fn helm(&self, arguments: &[&str]) -> String {
        let output = self.run(&find_program("helm"), arguments);
        assert!(output.status.success(), "helm {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("text")
    }

    fn render(&self, arguments: &[&str]) -> Output {
        self.run(Path::new(env!("CARGO_BIN_EXE_mainstay")), &[&["render"], arguments].concat())
    }

    fn rendered(&self, arguments: &[&str]) -> String {
        let output = self.render(arguments);
        assert!(output.status.success(), "render {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("text")
    }

    fn refused(&self, arguments: &[&str]) -> String {
        let output = self.render(arguments);
        assert!(!output.status.success(), "render {arguments:?} succeeds");
        String::from_utf8(output.stderr).expect("text")
    }

    /// A chart that shows its values and what it is told of the release.
    fn chart(&self, name: &str, more: &str) {
        self.write(
            &format!("{name}/Chart.yaml"),
            &format!("apiVersion: v2\nname: {name}\nversion: 1.0.0\n{more}"),
        );
        self.write(&format!("{name}/values.yaml"), "list: [a, b]\nmap: {x: 1}\ngone: here\n");
        let template = "\
apiVersion: v1
kind: ConfigMap
metadata:
  name: {{ .Release.Name }}
  namespace: {{ .Release.Namespace }}
data:
  upgrade: {{ .Release.IsUpgrade | quote }}
  kube: {{ .Capabilities.KubeVersion.Version }}
  custom: {{ .Capabilities.APIVersions.Has \"example.org/v1/Thing\" | quote }}
  values: |
    {{- .Values | toYaml | nindent 4 }}
";
        self.write(&format!("{name}/templates/map.yaml"), template);
        let hook = |name: &str, hook: &str| {
            format!(
                "apiVersion: v1\nkind: Pod\nmetadata:\n  name: {name}\n  annotations: {{helm.sh/hook: {hook}}}\n\n\n"
            )
        };
        self.write(&format!("{name}/templates/hook.yaml"), &hook("hook", "pre-install"));
        self.write(&format!("{name}/templates/tests/test.yaml"), &hook("test", "test"));
        self.write(
            &format!("{name}/crds/thing.yaml"),
            "kind: CustomResourceDefinition\nmetadata: {name: things}\n\n",
        );
    }
}

/// The same flags for both; Helm takes the release's name in another place.
fn compare(world: &World, chart: &str, flags: &[&str]) {
    let version: &[&str] =
        if flags.contains(&"--kube-version") { &[] } else { &["--kube-version", kube_version()] };
    let theirs = world.helm(&[&["template", "demo", chart], flags, version].concat());
    let ours = world.rendered(&[&[chart, "--release-name", "demo"], flags].concat());
    assert_eq!(ours, theirs, "{chart} {flags:?}");
}

#[test]
fn charts_print_what_helm_prints() {
    let world = World::new();
    for (name, values) in [
        ("cert-manager", None),
        ("traefik", None),
        ("linkerd-crds", None),
        ("argo-rollouts", None),
        ("metrics-server", Some("synth-on.yaml")),
        ("ingress-nginx", Some("synth-fill.yaml")),
        ("external-secrets", Some("synth-on.yaml")),
    ] {
        let chart = shared(&format!("charts/charts/{name}"));
        let chart = chart.to_str().expect("text");
        let file = values.map(|values| shared("charts/values").join(name).join(values));
        let file = file.filter(|file| file.is_file()).map(|file| file.display().to_string());
        let mut flags = vec!["--namespace", "demo", "--include-crds"];
        flags.extend(file.iter().flat_map(|file| ["-f", file.as_str()]));
        compare(&world, chart, &flags);
    }
}

#[test]
fn flags_mean_what_they_mean_to_helm() {
    let world = World::new();
    world.chart("c", "");
    world.write("one.yaml", "map: {y: 2}\nlist: [c]\n");
    world.write("two.yaml", "gone: null\nmap:\n  x: 0x10\n");
    world.write("text,file", "content\n");
    for flags in [
        &[][..],
        &["-n", "other", "--is-upgrade"],
        &["-f", "one.yaml", "--values", "two.yaml"],
        &["-f", "one.yaml,two.yaml"],
        &["--set", "map.x=1.50,list[1]=z,new.deep=true", "--set", "gone=null"],
        &[
            "--set-string",
            "map.x=1",
            "--set-json",
            "list=[1,{\"a\":null}]",
            "--set-json",
            "{\"map\":{\"j\":1}}",
        ],
        &["--set-file", "file=text\\,file,again=one.yaml", "--set-literal", "map.x=a,b=c\\d"],
        &["--kube-version", "1.30", "--api-versions", "example.org/v1/Thing"],
        &["-a", "a.example.org/v1,example.org/v1/Thing"],
        &["--include-crds", "--no-hooks"],
        &["--skip-tests"],
        &["--show-only", "templates/tests/*.yaml", "-s", "templates/map.yaml"],
        &["--skip-schema-validation"],
    ] {
        compare(&world, "c", flags);
    }
    world.helm(&["package", "c"]);
    compare(&world, "c-1.0.0.tgz", &["--include-crds"]);

    let wrote = world.helm(&[
        "template",
        "demo",
        "c",
        "--output-dir",
        "theirs",
        "--include-crds",
        "--kube-version",
        kube_version(),
    ]);
    let ours = world.rendered(&["c", "--release-name", "demo", "--output-dir", "ours", "--include-crds"]);
    assert_eq!(ours.replace("ours/", "theirs/"), wrote);
    for file in ["crds/thing.yaml", "templates/map.yaml", "templates/hook.yaml", "templates/tests/test.yaml"]
    {
        let read = |side: &str| std::fs::read_to_string(world.0.path().join(side).join("c").join(file));
        assert_eq!(read("ours").expect("written"), read("theirs").expect("written"), "{file}");
    }
}

#[test]
fn what_helm_refuses_is_refused() {
    let world = World::new();
    world.chart("c", "");
    world.chart("library", "type: library\n");
    world.chart(
        "needy",
        "dependencies: [{name: absent, version: 1.0.0, repository: \"https://charts.invalid\"}]\n",
    );
    for arguments in [
        &["c", "-s", "templates/nothing.yaml"][..],
        &["c", "--set", "a=b,c"],
        &["c", "-f", "nothing.yaml"],
        &["c", "--set-file", "a=nothing.txt"],
        &["library"],
        &["needy"],
    ] {
        let theirs = world.run(&find_program("helm"), &[&["template"], arguments].concat());
        let theirs = String::from_utf8_lossy(&theirs.stderr).into_owned();
        let theirs =
            theirs.trim().trim_start_matches("Error: ").lines().next().unwrap_or_default().to_owned();
        let ours = world.refused(arguments);
        assert!(!theirs.is_empty() && ours.contains(&theirs), "{arguments:?}: {ours} instead of {theirs}");
    }
    assert!(world.refused(&["nothing"]).contains("path \"nothing\" not found"));
    let unreachable = world.refused(&["needy", "--dependency-update"]);
    assert!(unreachable.contains("https://charts.invalid is unreachable: "), "{unreachable}");
}

#[test]
fn kustomizations_print_what_kubectl_prints() {
    let world = World::new();
    let mut found = Vec::new();
    let mut pending = vec![shared("repos")];
    while let Some(directory) = pending.pop() {
        if directory.join("kustomization.yaml").is_file() {
            found.push(directory.clone());
        }
        for entry in std::fs::read_dir(&directory).expect("a directory").flatten() {
            if entry.path().is_dir() && entry.file_name() != "expected" {
                pending.push(entry.path());
            }
        }
    }
    found.sort();
    assert!(found.len() > 40, "{}", found.len());
    for directory in found.iter().step_by(6) {
        let directory = directory.to_str().expect("text");
        let theirs = world.run(&find_program("kubectl"), &["kustomize", directory]);
        let ours = world.render(&[directory]);
        assert_eq!(ours.status.success(), theirs.status.success(), "{directory}");
        assert_eq!(
            String::from_utf8_lossy(&ours.stdout),
            String::from_utf8_lossy(&theirs.stdout),
            "{directory}"
        );
    }
    world.write("base/kustomization.yaml", "resources: [map.yaml]\nnamePrefix: a-\n");
    world.write("base/map.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: m}\n");
    world.write(
        "overlay/kustomization.yaml",
        "resources: [../base]\nsecretGenerator: [{name: s, literals: [k=v]}]\n",
    );
    let theirs = world.run(&find_program("kubectl"), &["kustomize", "overlay"]);
    assert_eq!(world.rendered(&["overlay"]), String::from_utf8_lossy(&theirs.stdout));
}

#[test]
fn charts_come_from_repositories() {
    let world = World::new();
    world.chart("c", "");
    world.helm(&["package", "c", "--destination", "served"]);
    world.helm(&["repo", "index", "served"]);
    let server = FileServer::start(&world.0.path().join("served"));
    let url = server.url();
    compare(&world, "c", &["--repo", &url]);
    compare(&world, "c", &["--repo", &url, "--version", "^1"]);
    compare(&world, &format!("{url}/c-1.0.0.tgz"), &[]);
    world.write("served/values.yaml", "map: {x: fetched}\n");
    let values = format!("{url}/values.yaml");
    compare(&world, "c", &["-f", &values, "--set-file", &format!("file={values}")]);
    let registry = ImageRegistry::start();
    let host = registry.url().trim_start_matches("http://").to_owned();
    world.helm(&["push", "served/c-1.0.0.tgz", &format!("oci://{host}/team"), "--plain-http"]);
    compare(&world, &format!("oci://{host}/team/c"), &["--plain-http"]);
    compare(&world, &format!("oci://{host}/team/c"), &["--plain-http", "--version", "1.x"]);

    world.chart("needy", &format!("dependencies: [{{name: c, version: 1.x, repository: {url:?}}}]\n"));
    let ours = world.rendered(&["needy", "--release-name", "demo", "--dependency-update"]);
    world.helm(&["dependency", "update", "needy"]);
    assert_eq!(ours, world.helm(&["template", "demo", "needy", "--kube-version", kube_version()]));
    let missing = world.refused(&["other", "--repo", &url]);
    assert!(missing.contains(&format!("chart \"other\" not found in {url} repository")), "{missing}");
}

/// Several processes share one cache, and none sees half of what another writes.
#[test]
fn many_processes_share_a_cache() {
    let world = World::new();
    world.chart("c", "");
    world.helm(&["package", "c", "--destination", "served"]);
    world.helm(&["repo", "index", "served"]);
    let server = FileServer::start(&world.0.path().join("served"));
    let url = server.url();
    let expected = world.helm(&["template", "demo", "c", "--kube-version", kube_version()]);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for version in ["1.x", "1.0.0"] {
                    let flags = ["c", "--repo", &url, "--version", version, "--release-name", "demo"];
                    assert_eq!(world.rendered(&flags), expected);
                }
            });
        }
    });
    let archives =
        std::fs::read_dir(world.0.path().join(".cache/mainstay/charts/archives")).expect("a cache");
    assert_eq!(archives.count(), 1);
}

const APPLICATION: &str = "\
apiVersion: argoproj.io/v1alpha1
kind: Application
metadata: {name: NAME, namespace: argocd}
spec:
  source: {repoURL: https://git.example.org/team/platform.git, path: chart, targetRevision: HEAD, helm: {valueFiles: [../values/NAME.yaml]}}
  destination: {server: https://kubernetes.default.svc, namespace: NAME}
";

fn platform() -> Repository {
    let source = World::new();
    source.write(
        "applications/apps.yaml",
        &format!("{}---\n{}", APPLICATION.replace("NAME", "shop"), APPLICATION.replace("NAME", "blog")),
    );
    source.write("values/shop.yaml", "password: sesame\nkey: shop\n");
    source.write("values/blog.yaml", "password: tulip\nkey: blog\n");
    source.write("chart/Chart.yaml", "apiVersion: v2\nname: chart\nversion: 1.0.0\n");
    source.write(
        "chart/templates/all.yaml",
        "\
apiVersion: v1
kind: ConfigMap
metadata: {name: {{ .Release.Name }}}
data: {key: {{ .Values.key | quote }}, random: {{ randAlphaNum 8 | quote }}}
---
apiVersion: v1
kind: Secret
metadata: {name: {{ .Release.Name }}}
stringData: {password: {{ .Values.password }}}
",
    );
    source.write("plain/map.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: plain}\n");
    source.write("plain/below/map.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: below}\n");
    let repository = Repository::of(source.0.path());
    repository.git(&["remote", "add", "origin", "git@git.example.org:team/platform"]);
    repository
}

#[test]
fn applications_and_directories_are_rendered() {
    let (world, repository) = (World::new(), platform());
    let path = |name: &str| repository.path().join(name).display().to_string();
    let apps = path("applications/apps.yaml");
    let several = world.refused(&[&apps]);
    assert!(several.contains("--application: shop, blog"), "{several}");
    let shop = world.rendered(&[&apps, "--application", "shop"]);
    assert!(shop.contains("key: shop") && shop.contains("name: shop") && !shop.contains("blog"), "{shop}");
    assert!(world.refused(&[&apps, "--application", "other"]).contains("holds no Application other"));
    let plain = world.rendered(&[&path("plain")]);
    assert_eq!(plain, "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: plain\n");
    let both = world.rendered(&[&path("plain"), "--recurse"]);
    assert_eq!(both.matches("kind: ConfigMap").count(), 2);
    assert_eq!(world.rendered(&[&path("plain/map.yaml")]), plain);
    // CheckMate's gateway, its repository answered from a copy.
    let checkmate = shared("repos/checkmate-kubernetes").display().to_string();
    let source = format!("https://github.com/checkMateit/checkmate-kubernetes.git={checkmate}");
    let gateway = format!("{checkmate}/applications/dev/gateway-app.yaml");
    let gateway = world.rendered(&[&gateway, "--source", &source]);
    assert!(
        gateway.contains("kind: Rollout") && gateway.contains("namespace: gateway")
            || gateway.contains("name: gateway")
    );
    let remote = world.refused(&[&format!("{checkmate}/applications/dev/cert-manager-app.yaml")]);
    assert!(remote.contains("https://charts.jetstack.io is unreachable: "), "{remote}");
}

#[test]
fn a_revision_is_compared_with_what_is_saved() {
    let (world, repository) = (World::new(), platform());
    let path = |name: &str| repository.path().join(name).display().to_string();
    let (apps, chart, values) = (path("applications/apps.yaml"), path("chart"), path("values/shop.yaml"));
    let application = [apps.as_str(), "--application", "shop", "--against", "HEAD"];
    let with_values = [chart.as_str(), "-f", &values, "--against", "HEAD"];
    let plain = path("plain");
    let all = [&application[..], &with_values, &[&plain, "--against", "main"]];
    for arguments in all {
        let output = world.render(arguments);
        assert_eq!((output.status.code(), output.stdout.len()), (Some(0), 0), "{arguments:?}: {output:?}");
    }
    repository.write("values/shop.yaml", "password: opened\nkey: changed\n");
    repository.write("plain/new.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: new}\n");
    for arguments in all {
        let output = world.render(arguments);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {output:?}");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(!text.contains("sesame") && !text.contains("opened"), "{text}");
        assert!(text.contains("+++ saved/"), "{text}");
        if arguments != all[2] {
            assert!(
                text.contains("ConfigMap/")
                    && text.contains("+++ saved/Secret/")
                    && !text.contains("random: \"+"),
                "{text}"
            );
            assert!(text.contains("changed") && text.contains("++++++++ (after)"), "{text}");
        } else {
            assert!(text.contains("--- /dev/null\n+++ saved/ConfigMap/new"), "{text}");
        }
    }
    repository.commit("released");
    assert_eq!(world.render(&application).status.code(), Some(0));
    let before = world.render(&[&apps, "--application", "shop", "--against", "HEAD~1"]);
    assert_eq!(before.status.code(), Some(1));

    // What did not exist then is all new; what cannot be told is neither a difference nor none.
    repository.write("later/kustomization.yaml", "resources: [map.yaml]\n");
    repository.write("later/map.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: later}\n");
    let later = world.render(&[&path("later"), "--against", "HEAD"]);
    assert_eq!(later.status.code(), Some(1), "{later:?}");
    assert!(String::from_utf8_lossy(&later.stdout).contains("+++ saved/ConfigMap/later"));
    for arguments in [
        &[&chart, "--against", "no-such-revision"][..],
        &[&path("nothing"), "--against", "HEAD"],
        &["oci://127.0.0.1:1/team/chart", "--against", "HEAD"],
    ] {
        let arguments: Vec<&str> = arguments.iter().map(AsRef::as_ref).collect();
        assert_eq!(world.render(&arguments).status.code(), Some(2), "{arguments:?}");
    }
    repository.write("chart/templates/all.yaml", "{{ fail \"no\" }}");
    assert_eq!(world.render(&with_values).status.code(), Some(2));
}

/// A link in a repository that nobody trusts leads nowhere.
#[test]
fn links_out_of_a_repository_are_refused() {
    let (world, repository) = (World::new(), platform());
    world.write("secret.yaml", "kind: Secret\napiVersion: v1\nmetadata: {name: stolen}\n");
    let link = repository.path().join("chart/templates/link.yaml");
    std::os::unix::fs::symlink(world.0.path().join("secret.yaml"), link).expect("a link");
    let chart = repository.path().join("chart").display().to_string();
    let error = world.refused(&[&chart]);
    assert!(error.contains("symbolic link leaves the repository"), "{error}");
}
