//! Objects, arrays, texts and numbers.

use serde_json::{Map, Value};
use yaml::number::float_g;

use super::super::failure::{Failure, grouped, quote, quoted_list};
use super::{Check, equal};

impl<'s> Check<'_, 's> {
    fn missing(&self, object: &Map<String, Value>, names: &Value) -> Vec<String> {
        let names = names.as_array().map_or(&[][..], Vec::as_slice).iter().filter_map(Value::as_str);
        names.filter(|name| !object.contains_key(*name)).map(str::to_owned).collect()
    }

    fn entries(&self, keyword: &str) -> Option<&'s Map<String, Value>> {
        self.schema.get(keyword).and_then(Value::as_object)
    }

    pub(super) fn object(&mut self, object: &Map<String, Value>, value: &Value) {
        for (keyword, wrong) in [
            ("minProperties", self.count("minProperties").filter(|least| object.len() < *least)),
            ("maxProperties", self.count("maxProperties").filter(|most| object.len() > *most)),
        ] {
            if let Some(wanted) = wrong {
                self.fail(format!("{keyword}: got {}, want {}", grouped(object.len()), grouped(wanted)));
            }
        }
        if let Some(required) = self.schema.get("required") {
            let missing = self.missing(object, required);
            match missing.as_slice() {
                [] => {}
                [one] => self.fail(format!("missing property {}", quote(one))),
                several => self.fail(format!("missing properties {}", quoted_list(several))),
            }
        }
        self.dependencies("dependencies", object, value);
        self.properties(object);
        if self.validator.draft >= 6
            && let Some(schema) = self.schema.get("propertyNames")
        {
            for name in object.keys() {
                if let Err(failure) =
                    self.validator.check(schema, &Value::String(name.clone()), &[], self.depth)
                {
                    let mut wrapped = Failure::new(&[], format!("invalid propertyName {}", quote(name)));
                    wrapped.causes =
                        if failure.kind == super::Kind::Group { failure.causes } else { vec![failure] };
                    self.failures.push(wrapped);
                }
            }
        }
        if self.validator.draft >= 2019 {
            self.dependencies("dependentSchemas", object, value);
            self.dependencies("dependentRequired", object, value);
        }
    }

    /// What one property asks of others.
    fn dependencies(&mut self, keyword: &str, object: &Map<String, Value>, value: &Value) {
        let Some(entries) = self.entries(keyword) else { return };
        for (name, dependency) in entries.iter().filter(|(name, _)| object.contains_key(*name)) {
            if dependency.is_array() {
                let missing = self.missing(object, dependency);
                if !missing.is_empty() {
                    let missing = quoted_list(&missing);
                    self.fail(format!("properties {missing} required, if {} exists", quote(name)));
                }
            } else {
                self.same_or_fail(dependency, value);
            }
        }
    }

    fn properties(&mut self, object: &Map<String, Value>) {
        let (known, patterns) = (self.entries("properties"), self.entries("patternProperties"));
        let additional = self.schema.get("additionalProperties");
        let mut unexpected = Vec::new();
        for (name, value) in object {
            let mut evaluated = false;
            if let Some(schema) = known.and_then(|known| known.get(name)) {
                evaluated = true;
                self.part_or_fail(schema, value, name);
            }
            for (pattern, schema) in patterns.into_iter().flatten() {
                if self.validator.matches(pattern, name) {
                    evaluated = true;
                    self.part_or_fail(schema, value, name);
                }
            }
            if !evaluated && let Some(additional) = additional {
                evaluated = true;
                match additional {
                    Value::Bool(true) => {}
                    Value::Bool(false) => unexpected.push(name.clone()),
                    schema => self.part_or_fail(schema, value, name),
                }
            }
            if evaluated {
                self.seen.names.insert(name.clone());
            }
        }
        if !unexpected.is_empty() {
            self.fail(format!("additional properties {} not allowed", quoted_list(&unexpected)));
        }
    }

    pub(super) fn array(&mut self, items: &[Value]) {
        for (keyword, wrong) in [
            ("minItems", self.count("minItems").filter(|least| items.len() < *least)),
            ("maxItems", self.count("maxItems").filter(|most| items.len() > *most)),
        ] {
            if let Some(wanted) = wrong {
                self.fail(format!("{keyword}: got {}, want {}", grouped(items.len()), grouped(wanted)));
            }
        }
        if self.schema.get("uniqueItems") == Some(&Value::Bool(true)) {
            let double = (1..items.len())
                .find_map(|later| (0..later).find(|&i| equal(&items[i], &items[later])).map(|i| (i, later)));
            if let Some((first, second)) = double {
                self.fail(format!("items at {first} and {second} are equal"));
            }
        }
        self.items(items);
        if self.validator.draft >= 6
            && let Some(schema) = self.schema.get("contains")
        {
            self.contains(schema, items);
        }
    }

    fn items(&mut self, items: &[Value]) {
        let new = self.validator.draft >= 2020;
        let (first, rest) = if new {
            (self.schema.get("prefixItems"), self.schema.get("items"))
        } else {
            match self.schema.get("items") {
                Some(list @ Value::Array(_)) => (Some(list), self.schema.get("additionalItems")),
                single => (None, single),
            }
        };
        let first = first.and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        for (index, (schema, item)) in first.iter().zip(items).enumerate() {
            self.part_or_fail(schema, item, &index.to_string());
            self.seen.indexes.insert(index);
        }
        let left = items.get(first.len()..).unwrap_or_default();
        match rest {
            None | Some(Value::Bool(true)) => {}
            Some(Value::Bool(false)) if !new && !left.is_empty() => {
                self.fail(format!("last {} additionalItem(s) not allowed", grouped(left.len())));
            }
            Some(schema) => {
                // Upstream counts these from zero again after a prefix.
                for (index, item) in left.iter().enumerate() {
                    self.part_or_fail(schema, item, &index.to_string());
                }
            }
        }
        if rest.is_some() {
            self.seen.indexes.extend(0..items.len());
        }
    }

    fn contains(&mut self, schema: &'s Value, items: &[Value]) {
        let mut matched = Vec::new();
        let mut failed = Vec::new();
        for (index, item) in items.iter().enumerate() {
            match self.part(schema, item, &index.to_string()) {
                Ok(()) => matched.push(index),
                Err(failure) => failed.push(failure),
            }
        }
        if self.validator.draft >= 2020 {
            self.seen.indexes.extend(matched.iter().copied());
        }
        let listed = || matched.iter().map(usize::to_string).collect::<Vec<_>>().join(" ");
        let newer = self.validator.draft >= 2019;
        match self.count("minContains").filter(|_| newer) {
            Some(least) if matched.len() < least => {
                let message = if matched.is_empty() {
                    format!(
                        "min {} items required to match contains schema, but none matched",
                        grouped(least)
                    )
                } else {
                    format!(
                        "min {} items required to match contains schema, but matched {} items at {}",
                        grouped(least),
                        grouped(matched.len()),
                        listed()
                    )
                };
                self.combined(&message, failed);
            }
            None if matched.is_empty() => self.combined("no items match contains schema", failed),
            _ => {}
        }
        if let Some(most) = self.count("maxContains").filter(|&most| newer && matched.len() > most) {
            self.fail(format!(
                "max {} items required to match contains schema, but matched {} items at {}",
                grouped(most),
                grouped(matched.len()),
                listed()
            ));
        }
    }

    pub(super) fn text(&mut self, text: &str) {
        let length = text.chars().count();
        for (keyword, wrong) in [
            ("minLength", self.count("minLength").filter(|least| length < *least)),
            ("maxLength", self.count("maxLength").filter(|most| length > *most)),
        ] {
            if let Some(wanted) = wrong {
                self.fail(format!("{keyword}: got {}, want {}", grouped(length), grouped(wanted)));
            }
        }
        if let Some(Value::String(pattern)) = self.schema.get("pattern")
            && !self.validator.matches(pattern, text)
        {
            self.fail(format!("{} does not match pattern {}", quote(text), quote(pattern)));
        }
    }

    pub(super) fn bounds(&mut self, number: f64) {
        let exclusive = |check: &Self, keyword: &str| check.schema.get(keyword) == Some(&Value::Bool(true));
        let mut checks: Vec<(&str, Option<f64>, bool)> = Vec::new();
        for (keyword, strict_keyword, low) in
            [("minimum", "exclusiveMinimum", true), ("maximum", "exclusiveMaximum", false)]
        {
            let bound = self.number(keyword);
            if exclusive(self, strict_keyword) {
                checks.push((strict_keyword, bound, low));
            } else {
                checks.push((keyword, bound, low));
                checks.push((strict_keyword, self.number(strict_keyword), low));
            }
        }
        for (keyword, bound, low) in checks {
            let Some(bound) = bound else { continue };
            let strict = keyword.starts_with("exclusive");
            let outside = if low { number < bound } else { number > bound };
            #[expect(clippy::float_cmp, reason = "a bound is met exactly or not")]
            if outside || (strict && number == bound) {
                self.fail(format!("{keyword}: got {}, want {}", float_g(number), float_g(bound)));
            }
        }
        if let Some(step) = self.number("multipleOf").filter(|step| *step > 0.0) {
            let ratio = number / step;
            if (ratio - ratio.round()).abs() > 1e-9 {
                self.fail(format!("multipleOf: got {}, want {}", float_g(number), float_g(step)));
            }
        }
    }

    pub(super) fn unevaluated(&mut self, value: &Value) {
        if let (Value::Object(object), Some(schema)) = (value, self.schema.get("unevaluatedProperties")) {
            for (name, value) in object {
                if !self.seen.names.contains(name) {
                    self.part_or_fail(schema, value, name);
                }
            }
            self.seen.names.extend(object.keys().cloned());
        }
        if let (Value::Array(items), Some(schema)) = (value, self.schema.get("unevaluatedItems")) {
            for (index, value) in items.iter().enumerate() {
                if !self.seen.indexes.contains(&index) {
                    self.part_or_fail(schema, value, &index.to_string());
                }
            }
            self.seen.indexes.extend(0..items.len());
        }
    }
}
