//! A chart as `helm template` prints it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use charts::{Charts, Freshness};
use helm::{Manifest, Rendered, Set, SetKind};

use super::place::Place;
use crate::cli;

/// What the embedded cluster says it is.
pub(super) const KUBE_VERSION: &str = apiserver::KUBERNETES_VERSION;

/// Renders a chart's files.
pub(super) fn render(chart: &helm::Chart, options: &helm::Options) -> Result<Rendered> {
    let kind = &chart.metadata().kind;
    if !matches!(kind.as_str(), "" | "application") {
        bail!("{kind} charts are not installable");
    }
    let missing = chart.missing_dependencies();
    if !missing.is_empty() {
        bail!(
            "an error occurred while checking for chart dependencies. You may need to run `helm dependency build` to \
             fetch missing dependencies: found in Chart.yaml, but missing in charts/ directory: {} (--dependency-update \
             fetches them)",
            missing.join(", ")
        );
    }
    Ok(helm::render(chart, options)?)
}

/// Random functions and the clock: the same for all renderings of one command, so that they can be compared.
#[derive(Debug, Clone, Copy)]
pub(super) struct World {
    pub(super) now: jiff::Timestamp,
    pub(super) seed: [u8; 32],
}

/// What flags name that is no file here, read once for all renderings: standard input (`-`) and URLs.
pub(super) type Elsewhere = BTreeMap<String, Bytes>;

/// # Errors
/// If one of them cannot be read.
pub(super) async fn elsewhere(args: &cli::Render, charts: &Charts) -> Result<Elsewhere> {
    let of_files = args.release.set_file.iter().flat_map(|expression| files_of(expression));
    let names: BTreeSet<String> = args.release.values.iter().cloned().chain(of_files).collect();
    let mut found = Elsewhere::new();
    for name in names {
        if name.trim() == "-" {
            let mut content = Vec::new();
            std::io::stdin().read_to_end(&mut content).context("read standard input")?;
            found.insert(name, content.into());
        } else if name.starts_with("https://") || name.starts_with("http://") {
            let content = charts.values(&name, Freshness::Recent).await?;
            found.insert(name, content);
        }
    }
    Ok(found)
}

/// The options that the flags say. Files that lie in the repository around the chart are those of `place`'s revision.
pub(super) fn options(
    args: &cli::Render,
    place: Option<&Place>,
    elsewhere: &Elsewhere,
    world: World,
) -> Result<helm::Options> {
    let release = &args.release;
    let mut options = helm::Options {
        release_name: release.release_name.clone(),
        namespace: release.namespace.clone(),
        kube_version: release.kube_version.clone().unwrap_or_else(|| KUBE_VERSION.to_owned()),
        api_versions: release.api_versions.clone(),
        include_crds: args.output.include_crds,
        skip_tests: args.output.skip_tests,
        skip_schema: release.skip_schema_validation,
        is_upgrade: release.is_upgrade,
        now: world.now,
        seed: Some(world.seed),
        ..helm::Options::default()
    };
    for name in &release.values {
        let content = read(name, place, elsewhere)?;
        let text = std::str::from_utf8(&content).with_context(|| format!("failed to parse {name}"))?;
        options.values.push(helm::read_values(text).with_context(|| format!("failed to parse {name}"))?);
    }
    let given = [
        (SetKind::Json, &release.set_json),
        (SetKind::Value, &release.set),
        (SetKind::String, &release.set_string),
        (SetKind::File, &release.set_file),
        (SetKind::Literal, &release.set_literal),
    ];
    for (kind, expressions) in given {
        options.set.extend(expressions.iter().map(|expr| Set { kind, expr: expr.clone() }));
    }
    for expression in &release.set_file {
        for name in files_of(expression) {
            let content = read(&name, place, elsewhere)
                .map_err(|error| anyhow::anyhow!("failed parsing --set-file data: {error:#}"))?;
            options.set_files.insert(name, content);
        }
    }
    Ok(options)
}

fn read(name: &str, place: Option<&Place>, elsewhere: &Elsewhere) -> Result<Bytes> {
    let failed = || format!("open {name}");
    if let Some(content) = elsewhere.get(name) {
        return Ok(content.clone());
    }
    if let Some(place) = place.filter(|place| place.in_git)
        && let Some(path) = place.path_of(Path::new(name))
    {
        return place
            .tree
            .read(&path)
            .with_context(failed)?
            .with_context(|| format!("open {name}: no such file or directory at that revision"));
    }
    match std::fs::read(name) {
        Ok(content) => Ok(content.into()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            bail!("open {name}: no such file or directory")
        }
        Err(error) => Err(error).with_context(failed),
    }
}

/// The files that `key1=path1,key2=path2` names; a backslash takes a character as it is.
fn files_of(expression: &str) -> Vec<String> {
    let (mut files, mut value) = (Vec::new(), None::<String>);
    let mut characters = expression.chars();
    while let Some(character) = characters.next() {
        match (character, &mut value) {
            ('=', None) => value = Some(String::new()),
            (',', _) => files.extend(value.take()),
            ('\\', value) => {
                let next = characters.next().unwrap_or('\\');
                if let Some(value) = value {
                    value.push(next);
                }
            }
            (character, Some(value)) => value.push(character),
            (_, None) => {}
        }
    }
    files.extend(value);
    files
}

/// The manifests that are printed, in order; hooks apart, as Helm trims between the two.
fn parts<'r>(rendered: &'r Rendered, output: &cli::RenderOutput) -> (Vec<&'r Manifest>, Vec<&'r Manifest>) {
    let manifests = rendered.crds.iter().chain(&rendered.manifests).collect();
    let hooks = if output.no_hooks { Vec::new() } else { rendered.hooks.iter().collect() };
    (manifests, hooks)
}

fn written(manifest: &Manifest) -> String {
    // A definition under crds/ is printed as it lies there.
    let text = if manifest.source.contains("/crds/") && manifest.hook.is_none() && manifest.name.is_empty() {
        manifest.text.as_str()
    } else {
        manifest.text.trim()
    };
    format!("---\n# Source: {}\n{text}\n", manifest.source)
}

/// What `helm template` prints.
pub(super) fn text(rendered: &Rendered, output: &cli::RenderOutput) -> String {
    let (manifests, hooks) = parts(rendered, output);
    let first: String = manifests.into_iter().map(written).collect();
    let mut text = format!("{}\n", first.trim());
    for hook in hooks {
        text.push_str(&written(hook));
    }
    text
}

/// The documents of what is printed, whole texts with their `# Source`.
pub(super) fn documents(rendered: &Rendered, output: &cli::RenderOutput) -> Vec<String> {
    let (manifests, hooks) = parts(rendered, output);
    manifests
        .into_iter()
        .chain(hooks)
        .map(|manifest| written(manifest).trim_start_matches("---\n").to_owned())
        .collect()
}

/// What `--show-only` leaves of a text: the documents of each template in the order in which the templates are named.
///
/// # Errors
/// If nothing came from one of them.
pub(super) fn only(text: &str, templates: &[String]) -> Result<String> {
    let documents = split(text);
    let mut kept = String::new();
    for wanted in templates {
        let before = kept.len();
        for document in &documents {
            let template = document
                .lines()
                .find_map(|line| line.split_once("# Source: ")?.1.split_once('/').map(|(_, path)| path));
            if template.is_some_and(|template| matches(wanted, template)) {
                let _ = writeln!(kept, "---\n{document}");
            }
        }
        if kept.len() == before {
            bail!("could not find template {wanted} in chart");
        }
    }
    Ok(kept)
}

/// Documents are apart where a line begins with `---`.
pub(super) fn split(text: &str) -> Vec<&str> {
    let mut documents = Vec::new();
    let mut rest = text.trim();
    rest = rest.strip_prefix("---").unwrap_or(rest);
    while let Some(at) = rest.find("\n---") {
        documents.push(&rest[..at]);
        rest = &rest[at + 4..];
    }
    documents.push(rest);
    documents.into_iter().map(str::trim).filter(|document| !document.is_empty()).collect()
}

/// A pattern of one path: `*` and `?` stay within a component, as Go's `filepath.Match` has it.
fn matches(pattern: &str, path: &str) -> bool {
    let (patterns, parts): (Vec<&str>, Vec<&str>) = (pattern.split('/').collect(), path.split('/').collect());
    patterns.len() == parts.len()
        && patterns.iter().zip(&parts).all(|(pattern, part)| component(pattern.as_bytes(), part.as_bytes()))
}

fn component(pattern: &[u8], text: &[u8]) -> bool {
    match pattern.split_first() {
        None => text.is_empty(),
        Some((b'*', rest)) => (0..=text.len()).any(|skip| component(rest, &text[skip..])),
        Some((b'?', rest)) => !text.is_empty() && component(rest, &text[1..]),
        Some((b'[', rest)) => class(rest, text),
        Some((b'\\', rest)) if !rest.is_empty() => {
            text.first() == rest.first() && component(&rest[1..], &text[1..])
        }
        Some((byte, rest)) => text.first() == Some(byte) && component(rest, &text[1..]),
    }
}

/// `[a-z]` and `[^a-z]`
fn class(pattern: &[u8], text: &[u8]) -> bool {
    let (Some(end), Some(byte)) = (pattern.iter().position(|byte| *byte == b']'), text.first()) else {
        return false;
    };
    let (negated, set) = match &pattern[..end] {
        [b'^', set @ ..] => (true, set),
        set => (false, set),
    };
    let mut found = false;
    let mut at = 0;
    while at < set.len() {
        if at + 2 < set.len() && set[at + 1] == b'-' {
            found |= (set[at]..=set[at + 2]).contains(byte);
            at += 3;
        } else {
            found |= set[at] == *byte;
            at += 1;
        }
    }
    found != negated && component(&pattern[end + 1..], &text[1..])
}

/// Writes each template's manifests to a file of its name below a directory, and says which.
///
/// # Errors
/// If a file cannot be written.
pub(super) fn write(
    rendered: &Rendered,
    output: &cli::RenderOutput,
    directory: &Path,
    mut say: impl FnMut(&str) -> Result<()>,
) -> Result<()> {
    let (manifests, hooks) = parts(rendered, output);
    let mut files: BTreeMap<PathBuf, String> = BTreeMap::new();
    let mut order = Vec::new();
    let mut known = BTreeSet::new();
    for manifest in manifests.into_iter().chain(hooks) {
        // A chart's name and a template's path come from the chart: they must not lead out of the directory.
        let path =
            tree::TreePath::parse(&manifest.source).with_context(|| format!("write {}", manifest.source))?;
        let file = directory.join(path.as_str());
        if known.insert(file.clone()) {
            order.push(file.clone());
        }
        files.entry(file).or_default().push_str(&written(manifest));
    }
    for file in order {
        let failed = || format!("write {}", file.display());
        if let Some(parent) = file.parent() {
            std::fs::create_dir_all(parent).with_context(failed)?;
        }
        let mut written = std::fs::File::create(&file).with_context(failed)?;
        written.write_all(files[&file].as_bytes()).with_context(failed)?;
        say(&format!("wrote {}\n", file.display()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_parameters() {
        assert_eq!(files_of("a=x.txt,b.c=dir/y\\,z.txt"), ["x.txt", "dir/y,z.txt"]);
        assert_eq!(files_of("a=x=y"), ["x=y"]);
        assert_eq!(files_of("a"), [""; 0]);
    }

    #[test]
    fn patterns_stay_in_a_component() {
        for (pattern, path, expected) in [
            ("templates/*.yaml", "templates/service.yaml", true),
            ("templates/*", "templates/tests/pod.yaml", false),
            ("templates/ser?ice.yaml", "templates/service.yaml", true),
            ("templates/[a-t]*", "templates/service.yaml", true),
            ("templates/[^s]*", "templates/service.yaml", false),
            ("service.yaml", "templates/service.yaml", false),
        ] {
            assert_eq!(matches(pattern, path), expected, "{pattern} {path}");
        }
    }

    #[test]
    fn only_what_was_asked_for() {
        let text = "---\n# Source: c/templates/a.yaml\nkind: A\n---\n# Source: c/templates/b.yaml\nkind: B\n---\n# Source: c/templates/a.yaml\nkind: C\n";
        let kept = only(text, &["templates/b.yaml".to_owned(), "templates/a.yaml".to_owned()]).unwrap();
        assert_eq!(
            kept,
            "---\n# Source: c/templates/b.yaml\nkind: B\n---\n# Source: c/templates/a.yaml\nkind: A\n---\n# Source: c/templates/a.yaml\nkind: C\n"
        );
        assert!(
            only(text, &["templates/x.yaml".to_owned()]).unwrap_err().to_string().contains("could not find")
        );
    }
}
