//! Templates by name.

use std::collections::HashMap;
use std::sync::Arc;

use crate::ast::Template;
use crate::funcs::Functions;
use crate::hash::Quick;
use crate::parse::{self, ParseError};

/// Templates that can call each other. Cloning is cheap where nothing was added since.
#[derive(Debug, Clone)]
pub struct Templates {
    functions: Functions,
    by_name: Arc<HashMap<Arc<str>, Arc<Template>, Quick>>,
}

impl Templates {
    #[must_use]
    pub fn new(functions: Functions) -> Self {
        Self { functions, by_name: Arc::default() }
    }

    /// Parses a text under a name, with all templates it defines. One that is already there is replaced, unless
    /// the new one has nothing but blanks.
    ///
    /// # Errors
    /// With Go's text.
    pub fn parse(&mut self, name: &str, text: &str) -> Result<(), ParseError> {
        let parsed = parse::parse(name, text, &self.functions)?;
        self.add(&parsed);
        Ok(())
    }

    #[must_use]
    pub fn contains(&self, name: &str) -> bool {
        self.by_name.contains_key(name)
    }

    pub(crate) fn functions(&self) -> &Functions {
        &self.functions
    }

    pub(crate) fn get(&self, name: &str) -> Option<&Arc<Template>> {
        self.by_name.get(name)
    }

    pub(crate) fn add(&mut self, parsed: &[Arc<Template>]) {
        let by_name = Arc::make_mut(&mut self.by_name);
        for template in parsed {
            if template.is_empty() && by_name.contains_key(&template.name) {
                continue;
            }
            by_name.insert(Arc::clone(&template.name), Arc::clone(template));
        }
    }
}
