//! New names, tags and digests of images.

use regex::Regex;

use crate::Error;
use crate::fieldspec::{self, FieldSpec};
use crate::kustomization::Image;
use crate::node::{Node, Tag};
use crate::resources::Resources;

/// Replaces the image in every list called `containers` or `initContainers`, and where the specs say.
pub(crate) fn set(resources: &mut Resources, image: &Image, specs: &[FieldSpec]) -> Result<(), Error> {
    // The name is a part of the expression; one that cannot be a part of any fits nothing.
    let tag = "(:[a-zA-Z0-9_.{}-]*)?(@[a-zA-Z0-9]+([.+_-][a-zA-Z0-9]+)*:[a-zA-Z0-9_.{}-]*)?";
    let Ok(pattern) = Regex::new(&format!("^{}{tag}$", image.name)) else { return Ok(()) };
    let mut update = |node: &mut Node| update(node, image, &pattern);
    for resource in resources.list.iter_mut().filter(|resource| resource.kind() != "CustomResourceDefinition")
    {
        walk(&mut resource.node, &mut update)?;
        for spec in specs {
            fieldspec::apply(resource, spec, None, &mut update)?;
        }
    }
    Ok(())
}

fn walk(node: &mut Node, update: &mut dyn FnMut(&mut Node) -> Result<(), Error>) -> Result<(), Error> {
    match node {
        Node::Scalar(_) => Ok(()),
        Node::List(items) => items.iter_mut().try_for_each(|item| walk(item, update)),
        Node::Map(fields) => {
            for (name, value) in fields {
                walk(value, update)?;
                if let (Node::List(containers), "containers" | "initContainers") = (value, name.as_str()) {
                    for container in containers {
                        if let Some(image) = container.fields_mut().and_then(|fields| fields.get_mut("image"))
                        {
                            update(image)?;
                        }
                    }
                }
            }
            Ok(())
        }
    }
}

fn update(node: &mut Node, image: &Image, pattern: &Regex) -> Result<(), Error> {
    if node.is_null() {
        return Ok(());
    }
    let Node::Scalar(scalar) = &*node else { return Err(Error::invalid("an image must be a scalar")) };
    if !pattern.is_match(&scalar.text) {
        return Ok(());
    }
    let (mut name, mut tag, mut digest) = split(&scalar.text);
    if !image.new_name.is_empty() {
        name.clone_from(&image.new_name);
    }
    match (image.new_tag.is_empty(), image.digest.is_empty()) {
        (false, _) => {
            tag.clone_from(&image.new_tag);
            digest.clone_from(&image.digest);
        }
        (true, false) => {
            tag.clear();
            digest.clone_from(&image.digest);
        }
        (true, true) if !image.tag_suffix.is_empty() => {
            tag.push_str(&image.tag_suffix);
            digest.clear();
        }
        (true, true) => {}
    }
    for (separator, part) in [(':', tag), ('@', digest)] {
        if !part.is_empty() {
            name.push(separator);
            name.push_str(&part);
        }
    }
    node.set_text(name, Tag::Empty)
}

/// Name, tag and digest of an image reference. A colon before the first slash belongs to a port.
pub(crate) fn split(image: &str) -> (String, String, String) {
    let start = image.find('/').unwrap_or(0);
    let (colon, at) = (
        image[start..].find(':').map(|place| place + start),
        image[start..].find('@').map(|place| place + start),
    );
    let (name, tag, digest) = match (colon, at) {
        (None, None) => (image, "", ""),
        (Some(colon), Some(at)) if colon < at => (&image[..colon], &image[colon + 1..at], &image[at + 1..]),
        (_, Some(at)) => (&image[..at], "", &image[at + 1..]),
        (Some(colon), None) => (&image[..colon], &image[colon + 1..], ""),
    };
    (name.to_owned(), tag.to_owned(), digest.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splits_references_with_ports_tags_and_digests() {
        let check = |image: &str, name: &str, tag: &str, digest: &str| {
            assert_eq!(split(image), (name.to_owned(), tag.to_owned(), digest.to_owned()));
        };
        check("nginx", "nginx", "", "");
        check("nginx:1.2", "nginx", "1.2", "");
        check("host:5000/a/b", "host:5000/a/b", "", "");
        check("host:5000/a/b:1", "host:5000/a/b", "1", "");
        check("a@sha256:12", "a", "", "sha256:12");
        check("a:1@sha256:12", "a", "1", "sha256:12");
    }
}
