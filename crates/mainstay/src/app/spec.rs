//! `app create`, `app set` and `app unset`: the spec from flags.

use anyhow::{Context, Result, bail};
use client::Key;
use client::dynamic::WriteOptions;
use objects::{Value, meta};
use serde_json::{Map, json};

use crate::cli::{Create, Set, SpecFlags, SyncPolicy, Unset};
use crate::remote::output::{array, object, qualified, say};
use crate::remote::{Remote, manifests};

const FINALIZER: &str = "resources-finalizer.argocd.argoproj.io";
const IN_CLUSTER: &str = "https://kubernetes.default.svc";
const ATTEMPTS: usize = 5;

pub(super) async fn create(remote: &Remote, args: &Create) -> Result<()> {
    let mut applications = match &args.file {
        Some(path) => manifests::read(path, "Application")?,
        None => vec![json!({"metadata": {}, "spec": {"destination": {}}})],
    };
    if applications.len() > 1 && args.name.is_some() {
        bail!("the file holds {} Applications: a name is for one", applications.len());
    }
    for application in &mut applications {
        fill(remote, args, application)?;
        let created = store(remote, application, args.upsert).await?;
        match args.output {
            Some(format) => object(created.0, format, |one| format!("{}\n", qualified(one)))?,
            None => say(&format!("application '{}' {}\n", qualified(&created.0), created.1))?,
        }
    }
    Ok(())
}

fn fill(remote: &Remote, args: &Create, application: &mut Value) -> Result<()> {
    application["apiVersion"] = json!("argoproj.io/v1alpha1");
    application["kind"] = json!("Application");
    if let Some(name) = &args.name {
        let key = remote.key(name);
        meta::set(application, "name", json!(key.name));
        meta::set(application, "namespace", json!(key.namespace));
    }
    if let Some(namespace) = &args.app_namespace {
        meta::set(application, "namespace", json!(namespace));
    }
    if meta::namespace(application).is_none() {
        meta::set(application, "namespace", json!(remote.namespace));
    }
    for (name, value) in &args.label {
        meta::set_label(application, name, Some(value));
    }
    for (name, value) in &args.annotations {
        meta::set_annotation(application, name, Some(value));
    }
    if args.set_finalizer {
        meta::add_finalizer(application, FINALIZER);
    }
    change(application, &args.spec)?;
    let spec = &mut application["spec"];
    if spec["project"].as_str().is_none_or(str::is_empty) {
        spec["project"] = json!("default");
    }
    let destination = &spec["destination"];
    if destination["server"].is_null() && destination["name"].is_null() {
        spec["destination"]["server"] = json!(IN_CLUSTER);
    }
    check(application)
}

/// What would be refused later, in words that name the flag.
fn check(application: &Value) -> Result<()> {
    let sources = super::show::sources(application);
    if sources.is_empty() {
        bail!("the Application has no source: give --repo and --path (or --helm-chart), or --file");
    }
    for source in sources {
        let has = |field: &str| source[field].as_str().is_some_and(|text| !text.is_empty());
        if !has("repoURL") {
            bail!("the Application has no repository: give --repo");
        }
        if !has("path") && !has("chart") && !has("ref") {
            bail!("the Application has no path: give --path, or --helm-chart for a chart of a repository");
        }
    }
    Ok(())
}

/// Creates it, or with `upsert` changes it; as in Argo CD, one that is there and the same is fine.
async fn store(remote: &Remote, application: &Value, upsert: bool) -> Result<(Value, &'static str)> {
    let api = remote.applications();
    let options = WriteOptions { field_manager: Some("mainstay".to_owned()), ..WriteOptions::default() };
    match api.create_with(application, &options).await {
        Ok(created) => return Ok((created, "created")),
        Err(error) if error.is_already_exists() => {}
        Err(error) => return Err(error.into()),
    }
    for _ in 0..ATTEMPTS {
        let mut present = api.get(&Key::of(application)).await?;
        if present["spec"] == application["spec"] {
            return Ok((present, "unchanged"));
        }
        if !upsert {
            bail!(
                "application {} is there already, with another spec; --upsert changes it",
                Key::of(application)
            );
        }
        present["spec"] = application["spec"].clone();
        for field in ["labels", "annotations"] {
            for (name, value) in application["metadata"][field].as_object().into_iter().flatten() {
                present["metadata"][field][name] = value.clone();
            }
        }
        match api.replace_with(&present, &options).await {
            Ok(changed) => return Ok((changed, "updated")),
            Err(error) if error.is_conflict() => {}
            Err(error) => return Err(error.into()),
        }
    }
    bail!("application {} changes faster than it can be written", Key::of(application))
}

pub(super) async fn set(remote: &Remote, args: &Set) -> Result<()> {
    edit(remote, &args.name, |application| change(application, &args.spec)).await
}

pub(super) async fn unset(remote: &Remote, args: &Unset) -> Result<()> {
    edit(remote, &args.name, |application| {
        let source = source(application, args.source_position)?;
        remove(&mut source["helm"]["parameters"], |one| {
            args.parameter.iter().any(|name| one["name"] == name.as_str())
        });
        remove(&mut source["helm"]["valueFiles"], |one| args.values.iter().any(|name| one == name.as_str()));
        remove(&mut source["kustomize"]["images"], |one| {
            let name = image_name(one.as_str().unwrap_or_default());
            args.kustomize_image.iter().any(|image| image == name)
        });
        let mut drop = |block: &str, field: &str, wanted: bool| {
            if let (Some(map), true) = (source[block].as_object_mut(), wanted) {
                map.remove(field);
            }
        };
        drop("helm", "values", args.values_literal);
        drop("helm", "valuesObject", args.values_literal);
        drop("kustomize", "namePrefix", args.nameprefix);
        drop("kustomize", "nameSuffix", args.namesuffix);
        if let Some(map) = source.as_object_mut() {
            map.retain(|_, value| !value.is_null());
        }
        Ok(())
    })
    .await
}

fn remove(list: &mut Value, gone: impl Fn(&Value) -> bool) {
    if let Some(list) = list.as_array_mut() {
        list.retain(|one| !gone(one));
    }
}

/// Changes an Application as nobody else changes it meanwhile.
async fn edit(remote: &Remote, name: &str, change: impl Fn(&mut Value) -> Result<()>) -> Result<()> {
    let options = WriteOptions { field_manager: Some("mainstay".to_owned()), ..WriteOptions::default() };
    for _ in 0..ATTEMPTS {
        let before = remote.application(name).await?;
        let mut after = before.clone();
        change(&mut after)?;
        if after == before {
            return Ok(());
        }
        match remote.applications().replace_with(&after, &options).await {
            Ok(_) => return Ok(()),
            Err(error) if error.is_conflict() => {}
            Err(error) => return Err(error.into()),
        }
    }
    bail!("application {name} changes faster than it can be written")
}

/// The source that flags are about.
fn source(application: &mut Value, position: Option<usize>) -> Result<&mut Value> {
    let spec = &mut application["spec"];
    let several = spec["sources"].as_array().is_some_and(|sources| !sources.is_empty());
    match (several, position) {
        (true, Some(position)) => {
            let count = array(spec, "/sources").len();
            let at = position.checked_sub(1).filter(|at| *at < count);
            let at =
                at.with_context(|| format!("--source-position {position}: there are {count} sources"))?;
            Ok(&mut spec["sources"][at])
        }
        (true, None) => bail!("the Application has several sources: choose one with --source-position"),
        (false, None | Some(1)) => {
            if !spec["source"].is_object() {
                spec["source"] = json!({});
            }
            Ok(&mut spec["source"])
        }
        (false, Some(position)) => bail!("--source-position {position}: there is one source"),
    }
}

fn change(application: &mut Value, flags: &SpecFlags) -> Result<()> {
    if touches_source(flags) {
        change_source(source(application, flags.source_position)?, flags)?;
    }
    let spec = &mut application["spec"];
    let mut put = |pointer: [&str; 2], value: Option<Value>| {
        if let Some(value) = value {
            at(spec, &pointer[..1])[pointer[1]] = value;
        }
    };
    put(["destination", "namespace"], flags.dest_namespace.as_ref().map(|text| json!(text)));
    put(["destination", "server"], flags.dest_server.as_ref().map(|text| json!(text)));
    put(["destination", "name"], flags.dest_name.as_ref().map(|text| json!(text)));
    // Only one of the two may be there.
    let other =
        if flags.dest_server.is_some() { Some("name") } else { flags.dest_name.as_ref().map(|_| "server") };
    if let (Some(other), Some(map)) = (other, spec["destination"].as_object_mut()) {
        map.remove(other);
    }
    if let Some(project) = &flags.project {
        spec["project"] = json!(project);
    }
    if let Some(limit) = flags.revision_history_limit {
        spec["revisionHistoryLimit"] = json!(limit);
    }
    change_policy(spec, flags)
}

fn change_policy(spec: &mut Value, flags: &SpecFlags) -> Result<()> {
    match flags.sync_policy {
        Some(SyncPolicy::Automated) if !spec["syncPolicy"]["automated"].is_object() => {
            at(spec, &["syncPolicy"])["automated"] = json!({});
        }
        Some(SyncPolicy::None) => {
            if let Some(policy) = spec["syncPolicy"].as_object_mut() {
                policy.remove("automated");
            }
        }
        _ => {}
    }
    for (field, value) in
        [("prune", flags.auto_prune), ("selfHeal", flags.self_heal), ("allowEmpty", flags.allow_empty)]
    {
        let Some(value) = value else { continue };
        if !spec["syncPolicy"]["automated"].is_object() {
            bail!("--auto-prune, --self-heal and --allow-empty are for --sync-policy automated");
        }
        spec["syncPolicy"]["automated"][field] = json!(value);
    }
    if let Some(limit) = flags.sync_retry_limit {
        at(spec, &["syncPolicy", "retry"])["limit"] = json!(limit);
    }
    for option in &flags.sync_option {
        let (wanted, option) = match option.strip_prefix('!') {
            Some(option) => (false, option),
            None => (true, option.as_str()),
        };
        if !option.contains('=') {
            bail!("--sync-option {option:?}: expected KEY=VALUE, as in CreateNamespace=true");
        }
        let key = option.split('=').next().unwrap_or_default();
        let list = list(at(spec, &["syncPolicy"]), "syncOptions");
        list.retain(|one| one.as_str().is_none_or(|one| one.split('=').next() != Some(key)));
        if wanted {
            list.push(json!(option));
        }
    }
    Ok(())
}

fn touches_source(flags: &SpecFlags) -> bool {
    flags.repo.is_some()
        || flags.path.is_some()
        || flags.helm_chart.is_some()
        || flags.revision.is_some()
        || flags.reference.is_some()
        || flags.values_literal_file.is_some()
        || flags.release_name.is_some()
        || flags.helm_skip_crds.is_some()
        || flags.nameprefix.is_some()
        || flags.namesuffix.is_some()
        || flags.directory_recurse.is_some()
        || flags.directory_include.is_some()
        || flags.directory_exclude.is_some()
        || [
            &flags.values,
            &flags.helm_set,
            &flags.helm_set_string,
            &flags.helm_set_file,
            &flags.kustomize_image,
        ]
        .iter()
        .any(|list| !list.is_empty())
}

fn change_source(source: &mut Value, flags: &SpecFlags) -> Result<()> {
    let texts = [
        ("repoURL", &flags.repo),
        ("path", &flags.path),
        ("chart", &flags.helm_chart),
        ("targetRevision", &flags.revision),
        ("ref", &flags.reference),
    ];
    for (field, value) in texts {
        if let Some(value) = value {
            source[field] = json!(value);
        }
    }
    if !flags.values.is_empty() {
        at(source, &["helm"])["valueFiles"] = json!(flags.values);
    }
    if let Some(path) = &flags.values_literal_file {
        let text = std::fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
        let values: Value = yaml::from_str(&text).with_context(|| format!("parse {}", path.display()))?;
        let helm = at(source, &["helm"]);
        if let Some(map) = helm.as_object_mut() {
            map.remove("values");
        }
        helm["valuesObject"] = values;
    }
    if let Some(name) = &flags.release_name {
        at(source, &["helm"])["releaseName"] = json!(name);
    }
    if let Some(skip) = flags.helm_skip_crds {
        at(source, &["helm"])["skipCrds"] = json!(skip);
    }
    for (set, force_string) in [(&flags.helm_set, false), (&flags.helm_set_string, true)] {
        for one in set {
            let (name, value) =
                one.split_once('=').with_context(|| format!("{one:?}: expected NAME=VALUE"))?;
            let mut entry = json!({"name": name, "value": value});
            if force_string {
                entry["forceString"] = json!(true);
            }
            upsert(list(at(source, &["helm"]), "parameters"), entry);
        }
    }
    for one in &flags.helm_set_file {
        let (name, path) = one.split_once('=').with_context(|| format!("{one:?}: expected NAME=FILE"))?;
        upsert(list(at(source, &["helm"]), "fileParameters"), json!({"name": name, "path": path}));
    }
    for (field, value) in [("namePrefix", &flags.nameprefix), ("nameSuffix", &flags.namesuffix)] {
        if let Some(value) = value {
            at(source, &["kustomize"])[field] = json!(value);
        }
    }
    for image in &flags.kustomize_image {
        let images = list(at(source, &["kustomize"]), "images");
        images.retain(|one| image_name(one.as_str().unwrap_or_default()) != image_name(image));
        images.push(json!(image));
    }
    if let Some(recurse) = flags.directory_recurse {
        at(source, &["directory"])["recurse"] = json!(recurse);
    }
    for (field, value) in [("include", &flags.directory_include), ("exclude", &flags.directory_exclude)] {
        if let Some(value) = value {
            at(source, &["directory"])[field] = json!(value);
        }
    }
    Ok(())
}

/// The name that an image of a kustomization is about: `web` of `web=ghcr.io/team/web:2`, `ghcr.io/team/web` of
/// `ghcr.io/team/web:2`.
fn image_name(image: &str) -> &str {
    if let Some((name, _)) = image.split_once('=') {
        return name;
    }
    let image = image.split('@').next().unwrap_or_default();
    match image.rsplit_once(':') {
        // A colon before a slash is a port's.
        Some((name, tag)) if !tag.contains('/') => name,
        _ => image,
    }
}

/// The object at a path, made where there is none.
fn at<'a>(value: &'a mut Value, path: &[&str]) -> &'a mut Value {
    let mut place = value;
    for part in path {
        if !place[*part].is_object() {
            place[*part] = Value::Object(Map::new());
        }
        place = &mut place[*part];
    }
    place
}

fn list<'a>(value: &'a mut Value, field: &str) -> &'a mut Vec<Value> {
    if !value[field].is_array() {
        value[field] = json!([]);
    }
    value[field].as_array_mut().expect("made an array just above")
}

fn upsert(list: &mut Vec<Value>, entry: Value) {
    match list.iter_mut().find(|one| one["name"] == entry["name"]) {
        Some(place) => *place = entry,
        None => list.push(entry),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_become_a_spec() {
        let mut application = json!({"spec": {"destination": {"name": "in-cluster"}, "source": {"helm": {"parameters": [
            {"name": "image.tag", "value": "1"}]}}}});
        let flags = SpecFlags {
            repo: Some("https://git.example.org/a.git".to_owned()),
            path: Some("charts/web".to_owned()),
            dest_server: Some(IN_CLUSTER.to_owned()),
            dest_namespace: Some("shop".to_owned()),
            sync_policy: Some(SyncPolicy::Automated),
            self_heal: Some(true),
            sync_option: vec![
                "CreateNamespace=true".to_owned(),
                "Validate=false".to_owned(),
                "!Validate=x".to_owned(),
            ],
            helm_set: vec!["image.tag=2".to_owned()],
            helm_set_string: vec!["port=8080".to_owned()],
            kustomize_image: vec!["web=ghcr.io/team/web:1".to_owned(), "web=ghcr.io/team/web:2".to_owned()],
            ..SpecFlags::default()
        };
        change(&mut application, &flags).unwrap();
        assert_eq!(
            application["spec"],
            json!({
                "destination": {"server": IN_CLUSTER, "namespace": "shop"},
                "source": {"repoURL": "https://git.example.org/a.git", "path": "charts/web",
                    "helm": {"parameters": [{"name": "image.tag", "value": "2"}, {"name": "port", "value": "8080", "forceString": true}]},
                    "kustomize": {"images": ["web=ghcr.io/team/web:2"]}},
                "syncPolicy": {"automated": {"selfHeal": true}, "syncOptions": ["CreateNamespace=true"]},
            })
        );
        let refused = SpecFlags { auto_prune: Some(true), ..SpecFlags::default() };
        assert!(
            change(&mut json!({"spec": {}}), &refused).unwrap_err().to_string().contains("--sync-policy")
        );
        let several = SpecFlags { revision: Some("v2".to_owned()), ..SpecFlags::default() };
        let mut two = json!({"spec": {"sources": [{}, {}]}});
        assert!(change(&mut two, &several).unwrap_err().to_string().contains("--source-position"));
        change(&mut two, &SpecFlags { source_position: Some(2), ..several }).unwrap();
        assert_eq!(two["spec"]["sources"], json!([{}, {"targetRevision": "v2"}]));
    }

    #[test]
    fn images_are_known_by_name() {
        for (image, name) in [
            ("web=ghcr.io/team/web:2", "web"),
            ("ghcr.io/team/web:2", "ghcr.io/team/web"),
            ("127.0.0.1:5000/web", "127.0.0.1:5000/web"),
            ("web@sha256:00", "web"),
        ] {
            assert_eq!(image_name(image), name);
        }
    }
}
