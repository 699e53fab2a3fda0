//! What all requests share, and what one request is about.

use std::sync::{Arc, Mutex, PoisonError, RwLock};

use http::HeaderMap;
use hyper::upgrade::OnUpgrade;
use jiff::Timestamp;
use store::Store;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::allocators::Allocators;
use crate::authz::Authorizer;
use crate::catalog::{Catalog, Resource, Snapshot};
use crate::error::ApiError;
use crate::http::{Encoding, Query, RequestInfo, Shape};
use crate::limits::{PerClient, Place};
use crate::quota::Ledger;
use crate::server::MetricsSource;
use crate::tokens;
use crate::user::User;

/// The parts of the server. One per process; requests hold it.
pub(crate) struct Core {
    pub(crate) store: Store,
    pub(crate) catalog: Catalog,
    pub(crate) authorizer: Authorizer,
    pub(crate) allocators: Allocators,
    pub(crate) token_key: Arc<tokens::Key>,
    pub(crate) authority_pem: String,
    pub(crate) node: RwLock<Option<Arc<dyn link::Node>>>,
    pub(crate) metrics: RwLock<Option<MetricsSource>>,
    pub(crate) requests: Semaphore,
    pub(crate) watches: Arc<Semaphore>,
    /// Of these, those of one user.
    pub(crate) client_requests: Arc<PerClient>,
    pub(crate) client_watches: Arc<PerClient>,
    pub(crate) quotas: Ledger,
    pub(crate) shutdown: CancellationToken,
    pub(crate) tasks: TaskTracker,
    pub(crate) issuer: String,
}

impl std::fmt::Debug for Core {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Core").field("store", &self.store).finish_non_exhaustive()
    }
}

impl Core {
    pub(crate) fn node(&self) -> Option<Arc<dyn link::Node>> {
        self.node.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// One request for a resource, authenticated and authorized.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) core: Arc<Core>,
    pub(crate) user: User,
    pub(crate) info: RequestInfo,
    pub(crate) query: Query,
    pub(crate) headers: HeaderMap,
    pub(crate) snapshot: Arc<Snapshot>,
    pub(crate) resource: Arc<Resource>,
    pub(crate) encoding: Encoding,
    pub(crate) shape: Shape,
    pub(crate) now: Timestamp,
    warnings: Mutex<Vec<String>>,
    /// The connection, for a request that asks for another protocol on it.
    upgrade: Mutex<Option<OnUpgrade>>,
    /// The user's place for it.
    place: Mutex<Option<Place>>,
}

/// The parts of a [`Call`] that come from its request.
pub(crate) struct Asked {
    pub(crate) user: User,
    pub(crate) info: RequestInfo,
    pub(crate) query: Query,
    pub(crate) headers: HeaderMap,
    pub(crate) encoding: Encoding,
    pub(crate) shape: Shape,
    pub(crate) upgrade: Option<OnUpgrade>,
}

impl Call {
    pub(crate) fn new(
        core: Arc<Core>,
        snapshot: Arc<Snapshot>,
        resource: Arc<Resource>,
        asked: Asked,
    ) -> Call {
        let Asked { user, info, query, headers, encoding, shape, upgrade } = asked;
        let upgrade = Mutex::new(upgrade);
        let now = Timestamp::now();
        let warnings = Mutex::new(resource.deprecation.clone().into_iter().collect());
        let place = Mutex::default();
        Call {
            core,
            user,
            info,
            query,
            headers,
            snapshot,
            resource,
            encoding,
            shape,
            now,
            warnings,
            upgrade,
            place,
        }
    }

    /// Something the client should show the person, sent as a `Warning` header.
    pub(crate) fn warn(&self, text: impl Into<String>) {
        let mut warnings = self.warnings.lock().unwrap_or_else(PoisonError::into_inner);
        let text = text.into();
        if !warnings.contains(&text) {
            warnings.push(text);
        }
    }

    /// The connection to take over; `None` where there is none to have, as in process.
    pub(crate) fn take_upgrade(&self) -> Option<OnUpgrade> {
        self.upgrade.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    pub(crate) fn take_warnings(&self) -> Vec<String> {
        std::mem::take(&mut self.warnings.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn dry_run(&self) -> bool {
        self.query.all("dryRun").any(|value| value == "All")
    }

    /// Who a write is recorded for: `fieldManager`, or the client's name from its `User-Agent`.
    pub(crate) fn field_manager(&self) -> String {
        const LONGEST: usize = 128;
        if let Some(manager) = self.query.get("fieldManager") {
            return manager.to_owned();
        }
        let agent = self.headers.get(http::header::USER_AGENT).and_then(|agent| agent.to_str().ok());
        let name = agent.unwrap_or_default().split('/').next().unwrap_or_default();
        let name: String = name.chars().filter(|c| !c.is_control()).take(LONGEST).collect();
        if name.is_empty() { "unknown".to_owned() } else { name }
    }

    /// The same call about one object of the collection.
    pub(crate) fn for_object(&self, namespace: &str, name: &str) -> Call {
        let mut info = self.info.clone();
        info.namespace = namespace.to_owned();
        info.name = name.to_owned();
        self.with(self.resource.clone(), info)
    }

    /// A call about something else on behalf of the same user, without the query of this one.
    pub(crate) fn with(&self, resource: Arc<Resource>, info: RequestInfo) -> Call {
        Call {
            core: self.core.clone(),
            user: self.user.clone(),
            info,
            query: Query::default(),
            headers: self.headers.clone(),
            snapshot: self.snapshot.clone(),
            resource,
            encoding: self.encoding,
            shape: Shape::Whole,
            now: self.now,
            warnings: Mutex::default(),
            upgrade: Mutex::default(),
            place: Mutex::default(),
        }
    }

    /// Holds the user's place until the call is dropped.
    pub(crate) fn keep(&self, place: Place) {
        *self.place.lock().unwrap_or_else(PoisonError::into_inner) = Some(place);
    }

    /// The user's place, for what goes on after the answer.
    pub(crate) fn take_place(&self) -> Option<Place> {
        self.place.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    pub(crate) fn not_found(&self, name: &str) -> ApiError {
        ApiError::not_found(&self.resource.group, &self.resource.plural, name)
    }
}
