//! Random operations against a map.

use std::collections::BTreeMap;

use proptest::collection::vec;
use proptest::prelude::*;
use store::{Config, Error, Event, EventKind, Expected, ListOptions, Revision, Scope, Store};

use crate::{draft, key, runtime};

#[derive(Debug, Clone)]
enum Step {
    Create(u8, u16),
    /// `true`: with the right revision, otherwise with one that is off.
    Update(u8, u16, bool),
    Delete(u8, bool),
    Reopen,
}

fn step() -> impl Strategy<Value = Step> {
    let name = 0_u8..6;
    prop_oneof![
        4 => (name.clone(), any::<u16>()).prop_map(|(name, value)| Step::Create(name, value)),
        4 => (name.clone(), any::<u16>(), any::<bool>()).prop_map(|(name, value, right)| Step::Update(name, value, right)),
        3 => (name, any::<bool>()).prop_map(|(name, right)| Step::Delete(name, right)),
        1 => Just(Step::Reopen),
    ]
}

/// What the store must hold, and what it must have told watchers since it was opened.
#[derive(Default)]
struct Model {
    revision: Revision,
    objects: BTreeMap<String, (Revision, String)>,
    history: Vec<(EventKind, String, Revision)>,
    opened_at: Revision,
    /// The whole state after each revision.
    states: BTreeMap<Revision, BTreeMap<String, (Revision, String)>>,
}

impl Model {
    fn wrote(&mut self, kind: EventKind, name: &str, value: Option<&str>) {
        self.revision += 1;
        match value {
            Some(value) => self.objects.insert(name.to_owned(), (self.revision, value.to_owned())),
            None => self.objects.remove(name),
        };
        self.history.push((kind, name.to_owned(), self.revision));
        self.states.insert(self.revision, self.objects.clone());
    }
}

async fn run(steps: Vec<Step>) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store");
    // So few bytes that snapshots are taken all the time.
    let config = Config { log_bytes: 400, ..Config::default() };
    let mut store = Store::open(&path, &config).unwrap();
    let mut follower = store.watch(Scope::new("things", None), 0).unwrap();
    let mut model = Model::default();
    model.states.insert(0, BTreeMap::new());
    let mut followed = 0;
    for step in steps {
        match step {
            Step::Create(name, value) => {
                let (name, value) = (name.to_string(), value.to_string());
                match store.create(key(&name), draft(&value)).await {
                    Ok(object) => {
                        assert!(!model.objects.contains_key(&name));
                        model.wrote(EventKind::Created, &name, Some(&value));
                        assert_eq!(object.revision, model.revision);
                    }
                    Err(Error::AlreadyExists { .. }) => assert!(model.objects.contains_key(&name)),
                    Err(other) => panic!("{other}"),
                }
            }
            Step::Update(name, value, right) => {
                let (name, value) = (name.to_string(), value.to_string());
                let at = model.objects.get(&name).map(|(revision, _)| *revision);
                let expected = at.unwrap_or(0) + Revision::from(!right);
                match store.update(key(&name), Expected::At(expected), draft(&value)).await {
                    Ok(_) => {
                        assert!(right && at.is_some());
                        model.wrote(EventKind::Updated, &name, Some(&value));
                    }
                    Err(Error::Conflict { actual, .. }) => assert!(!right && Some(actual) == at),
                    Err(Error::NotFound { .. }) => assert!(at.is_none()),
                    Err(other) => panic!("{other}"),
                }
            }
            Step::Delete(name, right) => {
                let name = name.to_string();
                let at = model.objects.get(&name).map(|(revision, _)| *revision);
                let expected = if right { Expected::Any } else { Expected::At(at.unwrap_or(0) + 1) };
                match store.delete(key(&name), expected, draft("last")).await {
                    Ok(_) => model.wrote(EventKind::Deleted, &name, None),
                    Err(Error::Conflict { .. }) => assert!(!right && at.is_some()),
                    Err(Error::NotFound { .. }) => assert!(at.is_none()),
                    Err(other) => panic!("{other}"),
                }
            }
            Step::Reopen => {
                drop(store);
                store = Store::open(&path, &config).unwrap();
                follower = store.watch(Scope::new("things", None), model.revision).unwrap();
                model.opened_at = model.revision;
                model.history.clear();
            }
        }
        compare(&store, &model);
        // A watch that goes on sees each write once, when it happens.
        let told: Vec<Revision> =
            follower.poll(usize::MAX).unwrap().iter().map(|event| event.object.revision).collect();
        assert!(told.iter().copied().eq(followed + 1..=model.revision), "{told:?} after {followed}");
        followed = model.revision;
    }
}

fn shown(page: store::Page) -> BTreeMap<String, (Revision, String)> {
    let items = page.items.into_iter();
    items
        .map(|(path, object)| {
            let name = path.strip_prefix("space/").unwrap().to_owned();
            (name, (object.revision, String::from_utf8(object.bytes.to_vec()).unwrap()))
        })
        .collect()
}

fn compare(store: &Store, model: &Model) {
    assert_eq!(store.revision(), model.revision);
    let scope = Scope::new("things", Some("space"));
    let all = store.list(&scope, &ListOptions::default()).unwrap();
    assert_eq!(all.revision, model.revision);
    assert_eq!(shown(all), model.objects);
    let other = store.list(&Scope::new("things", Some("spac")), &ListOptions::default()).unwrap();
    assert!(other.items.is_empty(), "a namespace is no prefix of another");
    // Pages at the oldest revision that is still kept show that moment.
    let at = model.opened_at;
    let mut pages = BTreeMap::new();
    let mut after = None;
    loop {
        let options = ListOptions { limit: Some(2), after: after.take(), at: Some(at) };
        let page = store.list(&scope, &options).unwrap();
        let (last, remaining) = (page.items.last().map(|(path, _)| path.to_string()), page.remaining);
        pages.extend(shown(page));
        if remaining == 0 {
            break;
        }
        after = last;
    }
    assert_eq!(&pages, &model.states[&at]);
    let mut watch = store.watch(scope.clone(), at).unwrap();
    let events: Vec<(EventKind, String, Revision)> = watch
        .poll(usize::MAX)
        .unwrap()
        .iter()
        .map(|event: &std::sync::Arc<Event>| (event.kind, event.key.name().to_owned(), event.object.revision))
        .collect();
    assert_eq!(events, model.history);
    assert_eq!(watch.position(), model.revision);
    if at > 0 {
        assert!(matches!(store.watch(scope, at - 1), Err(Error::Compacted { .. })));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_store_behaves_as_a_map_with_history(steps in vec(step(), 1..40)) {
        runtime().block_on(run(steps));
    }
}
