//! Kustomizations made of a seed: a base, an overlay or two, and every operator with odd values.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::Case;

/// A small generator of numbers: the same seed gives the same case on every machine.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        // splitmix64
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % limit as u64).expect("below a usize")
    }

    /// True once in `of` times.
    fn once(&mut self, of: usize) -> bool {
        self.below(of) == 0
    }

    fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[self.below(from.len())]
    }
}

const NAMES: [&str; 4] = ["web", "api", "db", "cache"];
/// What a plain or quoted scalar may look like.
const SCALARS: [&str; 22] = [
    "text",
    "\"1\"",
    "1",
    "0755",
    "1.50",
    "yes",
    "true",
    "null",
    "~",
    "''",
    "\"a: b\"",
    "1e3",
    "0x1F",
    "2024-01-02",
    "'on'",
    "a#b",
    "\"tab\\t\"",
    "\"-\"",
    "=",
    ".5",
    "1_000",
    "|\n        two\n        lines",
];
const KINDS: [(&str, &str); 6] = [
    ("apps/v1", "Deployment"),
    ("apps/v1", "StatefulSet"),
    ("apps/v1", "DaemonSet"),
    ("batch/v1", "Job"),
    ("batch/v1", "CronJob"),
    ("v1", "Pod"),
];

pub(super) fn generate(seed: u64) -> Case {
    let mut random = Random(seed);
    let mut files: BTreeMap<String, String> = BTreeMap::new();
    base(&mut random, &mut files);
    overlay(&mut random, &mut files, "overlay", "../base");
    let path = if random.once(3) {
        overlay(&mut random, &mut files, "top", "../overlay");
        "top"
    } else {
        "overlay"
    };
    let files = files.into_iter().map(|(path, text)| (path, text.into_bytes())).collect();
    let reorder = if random.once(2) { kustomize::Reorder::None } else { kustomize::Reorder::Legacy };
    Case {
        name: format!("seed {seed}"),
        path: path.to_owned(),
        files,
        reorder,
        load_restrictor: kustomize::LoadRestrictor::RootOnly,
    }
}

fn base(random: &mut Random, files: &mut BTreeMap<String, String>) {
    let mut objects = String::new();
    for name in NAMES.iter().take(1 + random.below(4)) {
        // `replicas` names this one, and only some kinds have them.
        let kinds = if *name == "web" { 2 } else { KINDS.len() };
        let (version, kind) = KINDS[random.below(kinds)];
        let _ = write!(objects, "---\n{}", workload(random, version, kind, name));
        if random.once(2) {
            let _ = write!(
                objects,
                "---\napiVersion: v1\nkind: Service\nmetadata:\n  name: {name}\nspec:\n  selector:\n    app: {name}\n  ports:\n  - port: 80\n    name: http\n"
            );
        }
    }
    let data = scalars(random, "  ", 3);
    let _ = write!(
        objects,
        "---\napiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: settings\n  annotations:\n    note: {}\ndata:\n{data}",
        random.pick(&["a", "'1'", "\"x y\""])
    );
    if random.once(3) {
        objects.push_str("---\napiVersion: rbac.authorization.k8s.io/v1\nkind: RoleBinding\nmetadata:\n  name: rb\nroleRef:\n  apiGroup: rbac.authorization.k8s.io\n  kind: Role\n  name: reader\nsubjects:\n- kind: ServiceAccount\n  name: default\n- kind: ServiceAccount\n  name: robot\n  namespace: other\n---\napiVersion: rbac.authorization.k8s.io/v1\nkind: Role\nmetadata:\n  name: reader\nrules: []\n---\napiVersion: v1\nkind: ServiceAccount\nmetadata:\n  name: robot\n");
    }
    if random.once(3) {
        let data = scalars(random, "    ", 3);
        let _ = write!(
            objects,
            "---\napiVersion: example.com/v1\nkind: Widget\nmetadata:\n  name: widget\nspec:\n  list: [a, b]\n  items:\n  - name: one\n    value: 1\n  - name: two\n  nested:\n{data}"
        );
    }
    files.insert("base/objects.yaml".to_owned(), objects);
    let mut text =
        "resources:\n- objects.yaml\nconfigMapGenerator:\n- name: generated\n  literals:\n  - a=1\n  - \
                    b=\"two words\"\n"
            .to_owned();
    if random.once(4) {
        text.push_str("namePrefix: base-\n");
    }
    files.insert("base/kustomization.yaml".to_owned(), text);
}

fn scalars(random: &mut Random, indent: &str, count: usize) -> String {
    let mut text = String::new();
    for key in ["alpha", "beta", "gamma"].iter().take(count) {
        let value = random.pick(&SCALARS).replace("\n        ", &format!("\n{indent}  "));
        let _ = writeln!(text, "{indent}{key}: {value}");
    }
    text
}

fn workload(random: &mut Random, version: &str, kind: &str, name: &str) -> String {
    let mut pod = format!(
        "containers:\n- name: main\n  image: {}\n",
        random.pick(&["nginx", "nginx:1.2", "repo:5000/app@sha256:aa"])
    );
    if random.once(2) {
        let _ = write!(
            pod,
            "  env:\n  - name: A\n    value: {}\n  - name: B\n    valueFrom:\n      configMapKeyRef:\n        name: {}\n        key: a\n",
            random.pick(&["x", "\"1\"", "$(VAR)"]),
            random.pick(&["settings", "generated"])
        );
    }
    if random.once(2) {
        pod.push_str(
            "  ports:\n  - containerPort: 80\n    protocol: TCP\n  - containerPort: 80\n    protocol: UDP\n",
        );
    }
    if random.once(2) {
        pod.push_str("- name: side\n  image: busybox\n  args: [a, b]\n");
    }
    if random.once(2) {
        pod.push_str("volumes:\n- name: v\n  configMap:\n    name: settings\n- name: w\n  emptyDir: {}\n");
    }
    if random.once(3) {
        pod.push_str("serviceAccountName: robot\n");
    }
    let indented =
        |by: usize| pod.lines().fold(String::new(), |all, line| all + &" ".repeat(by) + line + "\n");
    let head = format!(
        "apiVersion: {version}\nkind: {kind}\nmetadata:\n  name: {name}\n  labels:\n    app: {name}\n"
    );
    match kind {
        "Pod" => format!("{head}spec:\n{}", indented(2)),
        "CronJob" => format!(
            "{head}spec:\n  schedule: '* * * * *'\n  jobTemplate:\n    spec:\n      template:\n        spec:\n{}",
            indented(10)
        ),
        "Job" => format!("{head}spec:\n  template:\n    spec:\n{}", indented(6)),
        _ => format!(
            "{head}spec:\n  replicas: 1\n  selector:\n    matchLabels:\n      app: {name}\n  template:\n    metadata:\n      labels:\n        app: {name}\n    spec:\n{}",
            indented(6)
        ),
    }
}

fn overlay(random: &mut Random, files: &mut BTreeMap<String, String>, directory: &str, below: &str) {
    let mut text = format!("resources:\n- {below}\n");
    for (of, field) in [
        (3, "namePrefix: pre-\n"),
        (4, "nameSuffix: -suf\n"),
        (3, "namespace: space\n"),
        (4, "commonLabels:\n  team: \"7\"\n  onoff: yes-no\n"),
        (4, "labels:\n- pairs:\n    tier: front\n  includeTemplates: true\n"),
        (
            5,
            "labels:\n- pairs:\n    tier: back\n  includeSelectors: true\n- pairs:\n    x: why\n  fields:\n  - path: spec/extra\n    create: true\n    kind: Widget\n",
        ),
        (4, "commonAnnotations:\n  note: \"true\"\n"),
        (
            3,
            "images:\n- name: nginx\n  newTag: \"1.10\"\n- name: busybox\n  newName: tools\n  digest: sha256:bb\n",
        ),
        (5, "images:\n- name: repo:5000/app\n  newName: other/app\n  tagSuffix: -x\n"),
        (4, "sortOptions:\n  order: fifo\n"),
        (
            6,
            "sortOptions:\n  order: legacy\n  legacySortOptions:\n    orderFirst: [Service]\n    orderLast: [ConfigMap]\n",
        ),
        (4, "buildMetadata: [originAnnotations, transformerAnnotations]\n"),
        (
            3,
            "secretGenerator:\n- name: password\n  literals: [user=admin, 'pass=a=b']\n  type: kubernetes.io/basic-auth\n",
        ),
        (4, "generatorOptions:\n  labels:\n    made: by\n  immutable: true\n"),
        (4, "configMapGenerator:\n- name: generated\n  behavior: merge\n  literals: [a=2, c=3]\n"),
        (
            6,
            "configMapGenerator:\n- name: generated\n  behavior: replace\n  literals: [z=9]\n  options:\n    disableNameSuffixHash: true\n",
        ),
        (5, "replicas:\n- name: web\n  count: 4\n"),
        (
            6,
            "transformers:\n- |\n  apiVersion: builtin\n  kind: PrefixTransformer\n  metadata:\n    name: p\n  prefix: more-\n  fieldSpecs:\n  - path: metadata/name\n    kind: ConfigMap\n",
        ),
        (
            6,
            "transformers:\n- |\n  apiVersion: builtin\n  kind: AnnotationsTransformer\n  metadata:\n    name: a\n  annotations:\n    seen: 5\n  fieldSpecs:\n  - path: metadata/annotations\n    create: true\n",
        ),
    ] {
        let name = field.split(':').next().unwrap_or_default();
        if random.once(of) && !text.contains(&format!("\n{name}:")) {
            text.push_str(field);
        }
    }
    patches(random, &mut text);
    if random.once(6) {
        text.push_str(&replacement(random));
    }
    if random.once(5) {
        text.push_str("components:\n- ../component\n");
        files.insert(
            "component/kustomization.yaml".to_owned(),
            "apiVersion: kustomize.config.k8s.io/v1alpha1\nkind: Component\nresources:\n- extra.yaml\nnamespace: comp\npatches:\n- target:\n    kind: ConfigMap\n  patch: |\n    - op: add\n      path: /metadata/labels\n      value: {component: \"1\"}\n".to_owned(),
        );
        files.insert(
            "component/extra.yaml".to_owned(),
            format!("apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: extra-{directory}\ndata: {{}}\n"),
        );
    }
    files.insert(format!("{directory}/kustomization.yaml"), text);
}

fn patches(random: &mut Random, text: &mut String) {
    let count = random.below(3);
    if count == 0 {
        return;
    }
    text.push_str("patches:\n");
    for _ in 0..count {
        let target = random.pick(&[
            "    kind: Deployment|StatefulSet\n",
            "    name: web|db\n    kind: Deployment\n",
            "    labelSelector: app in (web, api)\n",
            "    kind: ConfigMap\n    annotationSelector: note\n",
            "    kind: Widget\n",
            "    version: v1\n    group: batch\n",
        ]);
        let value = random.pick(&SCALARS[..21]);
        let change = match random.below(9) {
            0 => format!("    - op: add\n      path: /metadata/annotations\n      value:\n        k: {value}\n"),
            1 => format!("    - op: replace\n      path: /metadata/labels/app\n      value: {value}\n"),
            2 => format!("    apiVersion: v1\n    kind: ConfigMap\n    metadata:\n      name: any\n    data:\n      alpha: {value}\n      beta: null\n"),
            3 => "    apiVersion: apps/v1\n    kind: Deployment\n    metadata:\n      name: any\n    spec:\n      template:\n        spec:\n          containers:\n          - name: new\n            image: new\n          - name: main\n            env:\n            - name: C\n              value: c\n            - name: A\n              $patch: delete\n".to_owned(),
            4 => "    apiVersion: apps/v1\n    kind: Deployment\n    metadata:\n      name: any\n    spec:\n      template:\n        spec:\n          containers:\n          - $patch: replace\n          - name: main\n            image: other\n            ports:\n            - containerPort: 80\n              protocol: UDP\n              name: dns\n".to_owned(),
            5 => format!("    apiVersion: example.com/v1\n    kind: Widget\n    metadata:\n      name: any\n    spec:\n      list: [{}]\n      nested:\n        alpha: {value}\n        $patch: {}\n", random.pick(&["c", "a, c", ""]), random.pick(&["merge", "replace"])),
            6 => "    apiVersion: v1\n    kind: ConfigMap\n    metadata:\n      name: any\n    $patch: delete\n".to_owned(),
            7 => format!("    apiVersion: v1\n    kind: ConfigMap\n    metadata:\n      name: any\n      labels:\n        l: {value}\n      annotations: null\n    data: {}\n", random.pick(&["null", "{}", "{new: x}"])),
            _ => "    apiVersion: apps/v1\n    kind: Deployment\n    metadata:\n      name: any\n    spec:\n      replicas: 3\n      strategy:\n        $retainKeys: [type]\n        type: Recreate\n      template:\n        spec:\n          $setElementOrder/containers:\n          - name: side\n          - name: main\n          containers:\n          - name: side\n            args: [z]\n".to_owned(),
        };
        let _ = write!(text, "- target:\n{target}  patch: |-\n{change}");
        if random.once(5) {
            text.push_str("  options:\n    allowNameChange: true\n");
        }
    }
}

fn replacement(random: &mut Random) -> String {
    let source = random.pick(&["metadata.name", "data.alpha", "data.gamma", "metadata.annotations.note"]);
    let target = random.pick(&[
        "spec.template.spec.containers.[name=main].image",
        "spec.template.spec.containers.*.image",
        "metadata.annotations.copied",
        "spec.template.spec.containers.0.env.[name=A].value",
        "spec.replicas",
        "metadata.labels.[example.com/x]",
    ]);
    let options = random.pick(&[
        "",
        "    options:\n      create: true\n",
        "    options:\n      delimiter: ':'\n      index: 1\n",
        "    options:\n      delimiter: /\n      index: 0\n      create: true\n",
    ]);
    let select = random.pick(&["kind: Deployment", "kind: Deploy.*", "name: web", "kind: Pod"]);
    let reject =
        random.pick(&["", "    reject:\n    - name: web\n", "    reject:\n    - labelSelector: app=db\n"]);
    format!(
        "replacements:\n- source:\n    kind: ConfigMap\n    name: settings\n    fieldPath: {source}\n  targets:\n  - select:\n      {select}\n{reject}    fieldPaths:\n    - {target}\n{options}"
    )
}
