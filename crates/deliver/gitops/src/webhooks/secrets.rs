//! The secrets of webhooks, where Argo CD keeps them.

use base64::Engine as _;
use client::{Api, Client, Key, resource};
use objects::{Value, meta};
use webhooks::Secrets;

/// Holds a key for each host.
const SECRET: &str = "argocd-secret";
/// Others may hold a value, `$name:key`, if they say so.
const PART_OF: (&str, &str) = ("app.kubernetes.io/part-of", "argocd");

/// Reads them as they are now, so that a change takes effect at once.
///
/// # Errors
/// Why they cannot be read; then nobody is believed. The text names no value.
pub(super) async fn read(client: &Client, namespace: &str) -> Result<Secrets, String> {
    let secrets = Api::new(client, &resource::SECRETS);
    let find = async |name: &str| {
        let key = Key::namespaced(namespace, name);
        secrets.find(&key).await.map_err(|error| format!("read the Secret {name}: {}", error.message()))
    };
    let own = find(SECRET).await?.unwrap_or_default();
    let mut values = Vec::new();
    for key in Secrets::KEYS {
        let value = text(&own, key).unwrap_or_default();
        let Some(reference) = value.strip_prefix('$') else {
            values.push(value);
            continue;
        };
        let missing = || format!("{key} of the Secret {SECRET} names a value that is not there");
        let found = match reference.split_once(':') {
            None => text(&own, reference),
            Some((name, field)) => {
                let other = find(name).await?.ok_or_else(missing)?;
                let labels = meta::labels(&other);
                let shared =
                    labels.and_then(|labels| labels.get(PART_OF.0)).is_some_and(|of| of == PART_OF.1);
                if !shared {
                    return Err(format!("the Secret {name} lacks the label {}={}", PART_OF.0, PART_OF.1));
                }
                text(&other, field)
            }
        };
        values.push(found.ok_or_else(missing)?.trim().to_owned());
    }
    let mut values = values.into_iter();
    Ok(Secrets::read(|_| values.next().unwrap_or_default()))
}

fn text(secret: &Value, key: &str) -> Option<String> {
    let bytes = base64::engine::general_purpose::STANDARD.decode(secret["data"][key].as_str()?).ok()?;
    String::from_utf8(bytes).ok()
}
