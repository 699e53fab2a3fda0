//! What each kind of generator gives.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::time::Duration;

use objects::Value;
use objects::selector::LabelSelector;
use serde_json::{Map, json};

use crate::error::Stop;
use crate::template::Renderer;
use crate::{Answer, Known, Parameters, Question, combine, git, parameters, pulls};

/// Pull requests are looked at again this often where the generator says nothing.
const PULL_REQUESTS: Duration = Duration::from_secs(30 * 60);

/// How the cluster that the controller talks to is named.
const IN_CLUSTER: (&str, &str) = ("in-cluster", "https://kubernetes.default.svc");

/// All generators of one set.
pub(crate) struct Generators<'a> {
    known: &'a Known,
    pub(crate) renderer: &'a Renderer,
    /// Whose credentials may be used.
    project: &'a str,
    asked: RefCell<BTreeSet<Question>>,
    open: RefCell<BTreeSet<Question>>,
    again: Cell<Option<Duration>>,
}

impl<'a> Generators<'a> {
    pub(crate) fn new(known: &'a Known, renderer: &'a Renderer, project: &'a str) -> Self {
        let (asked, open) = (RefCell::default(), RefCell::default());
        Self { known, renderer, project, asked, open, again: Cell::new(None) }
    }

    /// Everything asked, what of it has no answer yet, and when to ask again.
    pub(crate) fn finish(self) -> (BTreeSet<Question>, BTreeSet<Question>, Option<Duration>) {
        (self.asked.into_inner(), self.open.into_inner(), self.again.get())
    }

    /// The parameters of a generator. In a matrix, `outer` is a set of parameters that the generator itself may use.
    pub(crate) fn parameters(
        &self,
        generator: &Value,
        outer: Option<&Parameters>,
        place: &str,
        depth: usize,
    ) -> Result<Vec<Parameters>, Stop> {
        let fields = generator.as_object();
        let mut kinds = fields.into_iter().flatten().filter(|(kind, _)| *kind != "selector");
        let (Some((kind, _)), None) = (kinds.next(), kinds.next()) else {
            return Err(format!("{place}: a generator has one kind besides its selector").into());
        };
        if depth == 0 {
            return Err(format!("{place}.{kind}: generators are nested too deeply").into());
        }
        let interpolated = match outer.filter(|outer| !outer.is_empty()) {
            Some(outer) => {
                let scope = self.renderer.scope(outer);
                Some(scope.generator(generator).map_err(|error| {
                    format!("error interpolating params for generator: failed to replace parameters in generator: {error}")
                })?)
            }
            None => None,
        };
        let generator = interpolated.as_ref().unwrap_or(generator);
        let block = &generator[kind.as_str()];
        let place = format!("{place}.{kind}");
        let sets = match kind.as_str() {
            "list" => self.list(block)?,
            "clusters" => self.clusters(block)?,
            "git" => self.git(block)?,
            "pullRequest" => self.pull_requests(block, &place)?,
            "matrix" => combine::matrix(self, block, &place, depth)?,
            "merge" => combine::merge(self, block, &place, depth)?,
            "scmProvider" | "clusterDecisionResource" | "plugin" => {
                return Err(format!("{place}: this generator is not supported").into());
            }
            _ => return Err(format!("{place}: there is no such generator").into()),
        };
        let selector = &generator["selector"];
        if selector.is_null() {
            return Ok(sets);
        }
        let selector = parameters::Selector::parse(selector)
            .map_err(|error| format!("error parsing label selector: {error}"))?;
        Ok(sets.into_iter().filter(|set| selector.matches(set)).collect())
    }

    /// The answer to a question, if there is one already.
    fn ask(&self, question: Question) -> Result<&'a Answer, Stop> {
        self.asked.borrow_mut().insert(question.clone());
        match self.known.answers.get(&question) {
            Some(Ok(answer)) => Ok(answer),
            Some(Err(reason)) => Err(Stop::Failed(reason.clone())),
            None => {
                self.open.borrow_mut().insert(question);
                Err(Stop::Asks)
            }
        }
    }

    fn look_again(&self, after: Duration) {
        let soonest = self.again.get().map_or(after, |before| before.min(after));
        self.again.set(Some(soonest));
    }

    fn list(&self, block: &Value) -> Result<Vec<Parameters>, Stop> {
        let mut sets = Vec::new();
        for element in block["elements"].as_array().into_iter().flatten() {
            let element = element.as_object().ok_or_else(|| "error unmarshling list element".to_owned())?;
            sets.push(if self.renderer.is_go() { element.clone() } else { flat_element(element)? });
        }
        if let Some(text) = block["elementsYaml"].as_str().filter(|text| !text.is_empty()) {
            let failed = |reason: String| format!("error unmarshling decoded ElementsYaml {reason}");
            let more = yaml::from_str(text).map_err(|error| failed(error.to_string()))?;
            for element in more.as_array().into_iter().flatten() {
                let element = element.as_object().ok_or_else(|| failed("an element is no map".to_owned()))?;
                sets.push(element.clone());
            }
        }
        Ok(sets)
    }

    fn clusters(&self, block: &Value) -> Result<Vec<Parameters>, Stop> {
        let selector = &block["selector"];
        let selects = ["matchLabels", "matchExpressions"].iter().any(|field| match &selector[*field] {
            Value::Object(map) => !map.is_empty(),
            Value::Array(list) => !list.is_empty(),
            _ => false,
        });
        let matching = if selects {
            LabelSelector::from_object(selector)
                .map_err(|e| format!("error converting label selector: {e}"))?
        } else {
            LabelSelector::everything()
        };
        let mut sets = Vec::new();
        let mut clusters: Vec<_> = self.known.clusters.iter().collect();
        clusters.sort_by(|left, right| left.name.cmp(&right.name));
        for cluster in clusters {
            let labels = map_of(&cluster.labels);
            if !matching.matches(Some(&labels)) {
                continue;
            }
            let mut set = Map::new();
            set.insert("name".to_owned(), cluster.name.as_str().into());
            set.insert("nameNormalized".to_owned(), gotmpl::dns_name(&cluster.name).into());
            set.insert("server".to_owned(), cluster.server.as_str().into());
            set.insert("project".to_owned(), cluster.project.as_str().into());
            let annotations = map_of(&cluster.annotations);
            if self.renderer.is_go() {
                let mut metadata = Map::new();
                for (field, map) in [("annotations", annotations), ("labels", labels)] {
                    if !map.is_empty() {
                        metadata.insert(field.to_owned(), map.into());
                    }
                }
                set.insert("metadata".to_owned(), metadata.into());
            } else {
                for (field, map) in [("annotations", annotations), ("labels", labels)] {
                    set.extend(
                        map.into_iter().map(|(key, value)| (format!("metadata.{field}.{key}"), value)),
                    );
                }
            }
            sets.push(set);
        }
        let described = self.known.clusters.iter().any(|cluster| cluster.server == IN_CLUSTER.1);
        if !selects && !described {
            let local = json!({"name": IN_CLUSTER.0, "nameNormalized": IN_CLUSTER.0, "server": IN_CLUSTER.1, "project": ""});
            sets.extend(local.as_object().cloned());
        }
        for set in &mut sets {
            self.add_values(&block["values"], set)?;
        }
        if block["flatList"] == true {
            let list: Vec<Value> = sets.into_iter().map(Value::Object).collect();
            return Ok(vec![Map::from_iter([("clusters".to_owned(), Value::Array(list))])]);
        }
        Ok(sets)
    }

    fn git(&self, block: &Value) -> Result<Vec<Parameters>, Stop> {
        let text = |field: &str| block[field].as_str().unwrap_or_default().to_owned();
        let revision = Some(text("revision")).filter(|revision| !revision.is_empty());
        let question = Question::Repository {
            url: text("repoURL"),
            revision: revision.unwrap_or_else(|| "HEAD".to_owned()),
            project: self.project.to_owned(),
        };
        let Answer::Repository(tree) =
            self.ask(question).map_err(|stop| stop.during("error generating params from git"))?
        else {
            return Err("error generating params from git: no repository".to_owned().into());
        };
        let mut sets = git::parameters(block, &**tree, self.renderer.is_go())
            .map_err(|error| format!("error generating params from git: {error}"))?;
        for set in &mut sets {
            self.add_values(&block["values"], set)?;
        }
        Ok(sets)
    }

    fn pull_requests(&self, block: &Value, place: &str) -> Result<Vec<Parameters>, Stop> {
        pulls::check(block, place)?;
        let seconds = block["requeueAfterSeconds"].as_u64().filter(|seconds| *seconds > 0);
        self.look_again(seconds.map_or(PULL_REQUESTS, Duration::from_secs));
        let mut asked = block.clone();
        if let Some(asked) = asked.as_object_mut() {
            // What is asked of the host is the same whatever is made of the answer.
            for field in ["template", "values", "filters", "requeueAfterSeconds"] {
                asked.remove(field);
            }
        }
        let question = Question::PullRequests { generator: asked.to_string() };
        let Answer::PullRequests(open) =
            self.ask(question).map_err(|stop| stop.during("error listing repos"))?
        else {
            return Err("error listing repos: no pull requests".to_owned().into());
        };
        let mut sets = pulls::parameters(block, open, self.renderer.is_go())?;
        for set in &mut sets {
            self.add_values(&block["values"], set)?;
        }
        Ok(sets)
    }

    /// `values`, each filled with the parameters there are without them.
    fn add_values(&self, values: &Value, set: &mut Parameters) -> Result<(), Stop> {
        let Some(values) = values.as_object().filter(|values| !values.is_empty()) else { return Ok(()) };
        let mut filled = Map::new();
        {
            let scope = self.renderer.scope(set);
            for (key, value) in values {
                let text = value.as_str().unwrap_or_default();
                let text = scope.text(text).map_err(|error| {
                    format!("failed to append templated values: failed to replace templated string: failed to replace templated string with rendered values: {error}")
                })?;
                filled.insert(key.clone(), text.into());
            }
        }
        if self.renderer.is_go() {
            set.insert("values".to_owned(), filled.into());
        } else {
            set.extend(filled.into_iter().map(|(key, value)| (format!("values.{key}"), value)));
        }
        Ok(())
    }
}

fn map_of(texts: &std::collections::BTreeMap<String, String>) -> Map<String, Value> {
    texts.iter().map(|(key, value)| (key.clone(), value.as_str().into())).collect()
}

/// Without Go's templates parameters are texts, and `values` is a map of them.
fn flat_element(element: &Map<String, Value>) -> Result<Parameters, Stop> {
    let mut set = Map::new();
    for (key, value) in element {
        match value {
            Value::String(_) => {
                set.insert(key.clone(), value.clone());
            }
            Value::Object(values) if key == "values" => {
                for (key, value) in values {
                    if !value.is_string() {
                        return Err(format!("error parsing value as string: values.{key}").into());
                    }
                    set.insert(format!("values.{key}"), value.clone());
                }
            }
            _ if key == "values" => return Err("error parsing values map".to_owned().into()),
            _ => return Err(format!("error parsing value as string: {key}").into()),
        }
    }
    Ok(set)
}
