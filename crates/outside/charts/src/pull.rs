//! From a chart's name and version to its archive.

use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use url::Url;

use crate::cache::{self, Cache, is_digest, sha256};
use crate::http::{Answer, Request, Validators};
use crate::index::{Index, Release};
use crate::repository::{Place, shown};
use crate::versions::{Wanted, is_exact, is_loose};
use crate::{Charts, Error, Freshness, Pulled, Repository, names, oci};

/// An index as it was last read, with what tells whether it has changed.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct StoredIndex {
    validators: Validators,
    /// Whether it was `index.json`, since some repositories have no `index.yaml`.
    json: bool,
    /// Seconds since 1970.
    asked: u64,
    index: Index,
}

pub(crate) type CachedIndex = Arc<StoredIndex>;

/// Which archive a version of a chart is.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Known {
    version: String,
    digest: String,
}

/// A version that was fetched stays what it is.
const FOREVER: Duration = Duration::MAX;

/// How long the charts of an index are missed that lost its end, in seconds; then somebody writes it in another way.
const MISSED: u64 = 24 * 60 * 60;

/// What a file of values may have: as much as a file in a chart.
const VALUES: u64 = 5 << 20;

impl Charts {
    /// Fetches a chart. The version is one (`1.2.3`), a range (`^1.2`, `1.x`, `>=1 <2`) or empty for the newest; of a
    /// range the highest is taken, and pre-releases only if the range names one.
    ///
    /// # Errors
    /// If the repository cannot be reached in time, has no such chart or version, or the archive is not what was
    /// announced.
    pub async fn pull(
        &self,
        repository: &Repository,
        chart: &str,
        version: &str,
        freshness: Freshness,
    ) -> Result<Pulled, Error> {
        let place = repository.place()?;
        match &place {
            Place::Http(_) => names::check(chart)?,
            Place::Oci(_) => oci::check_name(chart)?,
        }
        let key = repository.fingerprint(&["version", chart, version]);
        let lasting = is_exact(version);
        if lasting && freshness == Freshness::Recent {
            let cache = Arc::clone(&self.0.cache);
            let key = key.clone();
            if let Some(pulled) = blocking(move || known(&cache, &key)).await? {
                return Ok(pulled);
            }
        }
        let wanted = Wanted::parse(version).map_err(|reason| Error::Version {
            chart: chart.to_owned(),
            version: version.to_owned(),
            reason,
        })?;
        let pulled = match place {
            Place::Http(base) => self.pull_http(repository, &base, chart, version, &wanted, freshness).await,
            Place::Oci(place) => self.pull_oci(repository, &place, chart, version, &wanted, freshness).await,
        }?;
        if lasting {
            let cache = Arc::clone(&self.0.cache);
            let known = Known { version: pulled.version.clone(), digest: pulled.digest.clone() };
            blocking(move || cache.keep_record("versions", &key, &known)).await??;
        }
        Ok(pulled)
    }

    /// Fetches an archive by its own URL: `https://…/web-1.2.3.tgz`, or `oci://host/team/web:1.2.3`.
    ///
    /// # Errors
    /// As [`Charts::pull`].
    pub async fn fetch(&self, repository: &Repository, url: &str) -> Result<Pulled, Error> {
        let refused = |reason: String| Error::Url { url: shown(url), reason };
        if let Some(name) = url.strip_prefix("oci://") {
            return self.fetch_oci(repository, name, Freshness::Recent).await;
        }
        let url = Url::parse(url).map_err(|error| refused(error.to_string()))?;
        let base = match repository.place() {
            Ok(Place::Http(base)) => base,
            _ => url.clone(),
        };
        let archive = self.archive(repository, &base, &url, "", Freshness::Latest).await?;
        Ok(Pulled { version: String::new(), ..archive })
    }

    /// Fetches a file of values by its URL; it is kept for as long as an index is.
    ///
    /// # Errors
    /// If it cannot be reached in time, is not there, or is larger than a file of a chart may be.
    pub async fn values(&self, url: &str, freshness: Freshness) -> Result<Bytes, Error> {
        let repository = Repository::new(url);
        let Place::Http(base) = repository.place()? else {
            let reason = "values come from http:// and https://".to_owned();
            return Err(Error::Url { url: shown(url), reason });
        };
        let fetch = |_| async {
            match self.get(&repository, &base, &base, Validators::default(), VALUES).await? {
                Answer::Body(content, _) => Ok(content.into()),
                _ => Err(Error::Fetch { url: shown(url), reason: "404 Not Found".to_owned() }),
            }
        };
        self.0.files.get(url, freshness, self.0.config.index_age, fetch).await
    }

    async fn pull_http(
        &self,
        repository: &Repository,
        base: &Url,
        chart: &str,
        version: &str,
        wanted: &Wanted<'_>,
        freshness: Freshness,
    ) -> Result<Pulled, Error> {
        let mut stored = self.index(repository, base, freshness).await?;
        if freshness == Freshness::Recent && stored.index.find(chart, wanted).is_none() {
            // It may have been published since.
            stored = self.index(repository, base, Freshness::Latest).await?;
        }
        let what = match version {
            "" => format!("chart {chart:?}"),
            version => format!("chart {chart:?} version {version:?}"),
        };
        let release = stored.index.find(chart, wanted).cloned();
        let release = release.ok_or_else(|| {
            let what = if stored.index.has(chart) { what.clone() } else { format!("chart {chart:?}") };
            Error::NotFound { what, url: shown(&repository.url) }
        })?;
        let Release { version, urls, digest } = release;
        let first = urls.first().ok_or_else(|| Error::Index {
            url: shown(&repository.url),
            reason: format!("{what} has no downloadable URLs"),
        })?;
        if let Some(name) = first.strip_prefix("oci://") {
            // The registry announces a digest of its own; the index's is of the same archive or of its manifest.
            let pulled = self.fetch_oci(&elsewhere(repository), name, freshness).await?;
            return Ok(Pulled { version, ..pulled });
        }
        let url = resolve(base, first).map_err(|reason| Error::Url { url: shown(first), reason })?;
        let digest = announced(&digest).map_err(|reason| Error::Index {
            url: shown(&repository.url),
            reason: format!("{what}: {reason}"),
        })?;
        let archive = self.archive(repository, base, &url, &digest, freshness).await?;
        Ok(Pulled { version, ..archive })
    }

    async fn pull_oci(
        &self,
        repository: &Repository,
        place: &str,
        chart: &str,
        version: &str,
        wanted: &Wanted<'_>,
        freshness: Freshness,
    ) -> Result<Pulled, Error> {
        let source = self.0.registries.source(repository, place, chart)?;
        let version = if is_loose(version) {
            version.to_owned()
        } else {
            let key = repository.fingerprint(&["tags", chart]);
            let tags = self.0.tags.get(&key, freshness, self.0.config.index_age, |_| async {
                source.versions().await.map(Arc::new)
            });
            source.choose(&tags.await?, wanted, version)?
        };
        self.oci_archive(repository, &source, &["archive", chart, &version], &version, freshness).await
    }

    /// `name` is `host/team/web:1.2.3`.
    async fn fetch_oci(
        &self,
        repository: &Repository,
        name: &str,
        freshness: Freshness,
    ) -> Result<Pulled, Error> {
        let slash = name.rfind('/').unwrap_or(0);
        let colon = name[slash..].find(':').map(|colon| slash + colon);
        let (place, tag) = match colon {
            Some(colon) => (&name[..colon], &name[colon + 1..]),
            None => return Err(Error::Url { url: shown(name), reason: "it names no version".to_owned() }),
        };
        let source = self.0.registries.source(repository, place, "")?;
        self.oci_archive(repository, &source, &["archive", name], tag, freshness).await
    }

    async fn oci_archive(
        &self,
        repository: &Repository,
        source: &oci::Source<'_>,
        key: &[&str],
        version: &str,
        freshness: Freshness,
    ) -> Result<Pulled, Error> {
        let key = repository.fingerprint(key);
        self.kept(&key, version, freshness, || async {
            let _permit = self.0.downloads.acquire().await.map_err(|_| Error::Stopped)?;
            self.0.registries.archive(source, version).await
        })
        .await
    }

    /// The archive at a URL, which has the digest if one was announced.
    async fn archive(
        &self,
        repository: &Repository,
        base: &Url,
        url: &Url,
        digest: &str,
        freshness: Freshness,
    ) -> Result<Pulled, Error> {
        if !digest.is_empty() {
            let (cache, wanted) = (Arc::clone(&self.0.cache), digest.to_owned());
            if let Some(archive) = blocking(move || cache.archive(&wanted)).await? {
                return Ok(Pulled { version: String::new(), digest: digest.to_owned(), archive });
            }
        }
        let key = repository.fingerprint(&["archive", url.as_str(), digest]);
        self.kept(&key, "", freshness, || async {
            let limit = self.0.config.limits.archive;
            let answer = self.get(repository, base, url, Validators::default(), limit).await?;
            let Answer::Body(content, _) = answer else {
                return Err(Error::Fetch { url: shown(url.as_str()), reason: "404 Not Found".to_owned() });
            };
            if !digest.is_empty() {
                let found = sha256(&content);
                if found != digest {
                    let (url, wanted) = (shown(url.as_str()), format!("sha256:{digest}"));
                    return Err(Error::Digest { url, wanted, found: format!("sha256:{found}") });
                }
            }
            if !content.starts_with(&[0x1f, 0x8b]) {
                let reason = "it is not compressed with gzip".to_owned();
                return Err(Error::Archive { url: shown(url.as_str()), reason });
            }
            // What breaks off in the middle would otherwise be this version for ever.
            let content = Bytes::from(content);
            let copy = content.clone();
            let unpacked = blocking(move || helm::unpack(&copy).map(drop)).await?;
            unpacked
                .map_err(|error| Error::Archive { url: shown(url.as_str()), reason: error.to_string() })?;
            Ok(content)
        })
        .await
    }

    /// An archive that is fetched once and then comes from the cache.
    async fn kept<F: Future<Output = Result<Bytes, Error>>>(
        &self,
        key: &str,
        version: &str,
        freshness: Freshness,
        fetch: impl Fn() -> F,
    ) -> Result<Pulled, Error> {
        let mut freshness = freshness;
        loop {
            let known = self.0.archives.get(key, freshness, FOREVER, |_| async {
                let content = fetch().await?;
                let cache = Arc::clone(&self.0.cache);
                let digest = blocking(move || cache.keep_archive(&content)).await??;
                Ok(Known { version: version.to_owned(), digest })
            });
            let Known { version, digest } = known.await?;
            let (cache, wanted) = (Arc::clone(&self.0.cache), digest.clone());
            if let Some(archive) = blocking(move || cache.archive(&wanted)).await? {
                return Ok(Pulled { version, digest, archive });
            }
            if freshness == Freshness::Latest {
                let path = self.0.config.cache_dir.clone();
                let reason = "it is gone as soon as it was written".to_owned();
                return Err(Error::Cache { action: "keep an archive", path, reason });
            }
            freshness = Freshness::Latest;
        }
    }

    async fn index(
        &self,
        repository: &Repository,
        base: &Url,
        freshness: Freshness,
    ) -> Result<CachedIndex, Error> {
        let key = repository.fingerprint(&["index"]);
        let age = self.0.config.index_age;
        let fetch = |before: Option<CachedIndex>| async {
            let before = match before {
                Some(before) => Some(before),
                None => {
                    let (cache, key) = (Arc::clone(&self.0.cache), key.clone());
                    blocking(move || cache.record::<StoredIndex>("indexes", &key)).await?.map(Arc::new)
                }
            };
            if let Some(before) = &before
                && freshness == Freshness::Recent
                && now().saturating_sub(before.asked) < age.as_secs()
            {
                return Ok(Arc::clone(before));
            }
            let stored = Arc::new(self.fetch_index(repository, base, before).await?);
            let (cache, key, copy) = (Arc::clone(&self.0.cache), key.clone(), Arc::clone(&stored));
            blocking(move || cache.keep_record("indexes", &key, &*copy)).await??;
            Ok(stored)
        };
        self.0.indexes.get(&key, freshness, age, fetch).await
    }

    async fn fetch_index(
        &self,
        repository: &Repository,
        base: &Url,
        before: Option<CachedIndex>,
    ) -> Result<StoredIndex, Error> {
        let place = shown(&repository.url);
        let invalid = |reason: String| Error::Index { url: place.clone(), reason };
        let known = before.as_ref().map(|before| before.validators.clone()).unwrap_or_default();
        let was_json = before.as_ref().is_some_and(|before| before.json);
        for json in if was_json { [true, false] } else { [false, true] } {
            let name = if json { "index.json" } else { "index.yaml" };
            let url = resolve(base, name).map_err(&invalid)?;
            let validators = if json == was_json { known.clone() } else { Validators::default() };
            let answer = self.get(repository, base, &url, validators, self.0.config.limits.index).await;
            let answer = answer.map_err(|error| match error {
                Error::Unreachable { reason, .. } => Error::Unreachable { url: place.clone(), reason },
                error => error,
            })?;
            match (answer, &before) {
                (Answer::NotFound, _) => {}
                (Answer::Unchanged, Some(before)) => {
                    let index = before.index.clone();
                    return Ok(StoredIndex { validators: known, json, asked: now(), index });
                }
                (Answer::Unchanged, None) => return Err(invalid("304 Not Modified".to_owned())),
                (Answer::Body(content, validators), _) => {
                    let index = blocking(move || Index::parse(&content)).await?.map_err(&invalid)?;
                    let recent = |before: &&CachedIndex| now().saturating_sub(before.asked) < MISSED;
                    if before.as_ref().filter(recent).is_some_and(|before| index.breaks_off(&before.index)) {
                        let reason = "it breaks off: charts that it had are missing, and so is its end";
                        return Err(invalid(reason.to_owned()));
                    }
                    return Ok(StoredIndex { validators, json, asked: now(), index });
                }
            }
        }
        Err(invalid("failed to fetch index.yaml : 404 Not Found".to_owned()))
    }

    /// Asks the mirrors of a host first. They get neither credentials nor a query, which may be a token.
    async fn get(
        &self,
        repository: &Repository,
        base: &Url,
        url: &Url,
        known: Validators,
        limit: u64,
    ) -> Result<Answer, Error> {
        for mirror in self.mirrored(url) {
            let answer = self.get_from(&Repository::default(), &mirror, &mirror, known.clone(), limit).await;
            match answer {
                Ok(Answer::NotFound) | Err(Error::Unreachable { .. } | Error::Fetch { .. }) => {
                    tracing::debug!(mirror = shown(mirror.as_str()), "a mirror has no answer");
                }
                answer => return answer,
            }
        }
        self.get_from(repository, base, url, known, limit).await
    }

    /// The same path at the mirrors of its host.
    fn mirrored(&self, url: &Url) -> Vec<Url> {
        let mirrors = url.host_str().and_then(|host| self.0.config.registry.mirrors.get(host));
        let mirrors = mirrors.into_iter().flatten().filter_map(|mirror| Url::parse(mirror).ok());
        let placed = mirrors.map(|mut mirror| {
            let path = format!("{}{}", mirror.path().trim_end_matches('/'), url.path());
            mirror.set_path(&path);
            mirror
        });
        placed.collect()
    }

    async fn get_from(
        &self,
        repository: &Repository,
        base: &Url,
        url: &Url,
        known: Validators,
        limit: u64,
    ) -> Result<Answer, Error> {
        let permit = Arc::clone(&self.0.downloads).acquire_owned().await.map_err(|_| Error::Stopped)?;
        let (http, repository) = (Arc::clone(&self.0.http), repository.clone());
        let (base, url) = (base.clone(), url.clone());
        blocking(move || {
            let _permit = permit;
            http.get(Request { repository: &repository, base: &base, url, known: &known, limit })
        })
        .await?
    }
}

pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Error> {
    match tokio::task::spawn_blocking(work).await {
        Ok(value) => Ok(value),
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        Err(_) => Err(Error::Stopped),
    }
}

/// What was pulled under this key before, if it is still here.
fn known(cache: &Cache, key: &str) -> Option<Pulled> {
    let Known { version, digest } = cache.record("versions", key)?;
    let archive = cache.archive(&digest)?;
    Some(Pulled { version, digest, archive })
}

fn now() -> u64 {
    cache::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// A repository that an index of another one points to: it gets the credentials only if told so.
fn elsewhere(repository: &Repository) -> Repository {
    if repository.pass_credentials {
        return repository.clone();
    }
    Repository { username: String::new(), password: String::new(), url: String::new(), ..repository.clone() }
}

/// A URL of an index: absolute, or relative to the repository, whose query (a token, perhaps) it keeps.
fn resolve(base: &Url, reference: &str) -> Result<Url, String> {
    if let Ok(url) = Url::parse(reference) {
        return match url.scheme() {
            "http" | "https" => Ok(url),
            scheme => Err(format!("{scheme} is no scheme that charts are fetched by")),
        };
    }
    let mut directory = base.clone();
    directory.set_path(&format!("{}/", base.path().trim_end_matches('/')));
    let mut url = directory.join(reference).map_err(|error| error.to_string())?;
    url.set_query(base.query());
    Ok(url)
}

/// The digest in an index, `sha256:` before it or not.
fn announced(digest: &str) -> Result<String, String> {
    let hex = digest.strip_prefix("sha256:").unwrap_or(digest).to_ascii_lowercase();
    if hex.is_empty() || is_digest(&hex) {
        return Ok(hex);
    }
    Err(format!("invalid digest {:?}", digest.chars().take(80).collect::<String>()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_relative_to_the_repository() {
        let check = |base: &str, reference: &str, expected: &str| {
            assert_eq!(resolve(&base.parse().unwrap(), reference).unwrap().as_str(), expected);
        };
        check("https://a.org/charts", "index.yaml", "https://a.org/charts/index.yaml");
        check("https://a.org/charts/?token=t", "x/web.tgz", "https://a.org/charts/x/web.tgz?token=t");
        check("https://a.org/charts", "../other/web.tgz", "https://a.org/other/web.tgz");
        check("https://a.org/charts", "/web.tgz", "https://a.org/web.tgz");
        check("https://a.org", "https://b.org/web.tgz", "https://b.org/web.tgz");
        check("https://a.org/charts", "//b.org/web.tgz", "https://b.org/web.tgz");
        assert!(resolve(&"https://a.org".parse().unwrap(), "file:///etc/passwd").is_err());
    }

    #[test]
    fn digests_are_whole() {
        let hex = "a".repeat(64);
        assert_eq!(announced(&format!("sha256:{hex}")).as_deref(), Ok(hex.as_str()));
        assert_eq!(announced(&hex.to_uppercase()).as_deref(), Ok(hex.as_str()));
        assert_eq!(announced("").as_deref(), Ok(""));
        assert!(announced("../../etc/passwd").is_err() && announced("abc").is_err());
    }
}
