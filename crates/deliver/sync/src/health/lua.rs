//! Checks that a team writes in Lua, as `argocd-cm` has them.
//!
//! A script sees the object as `obj` and returns a table of `status` and `message`. It runs in a state of its own, with
//! tables, strings and arithmetic and nothing of the machine: no files, no processes, no clock, no loading of code.

use std::cell::Cell;
use std::rc::Rc;

use mlua::{HookTriggers, Lua, LuaOptions, LuaSerdeExt as _, StdLib, VmState};
use objects::{Value, meta};

use super::{Health, HealthStatus, assess, is_going, unknown};
use crate::glob;
use crate::key::group;

/// Instructions that a script may take.
const STEPS: u32 = 1_000_000;
/// How often they are counted.
const STRIDE: u32 = 1_000;
/// Bytes that a script may hold, the object included.
const MEMORY: usize = 32 << 20;

/// What Argo CD's Lua has and this one calls otherwise; and what reaches out of the script.
const PRELUDE: &str = r"
unpack = unpack or table.unpack
table.getn = table.getn or function(list) return #list end
for _, name in ipairs({'dofile', 'loadfile', 'load', 'loadstring', 'print', 'collectgarbage', 'require'}) do
  _G[name] = nil
end
string.dump = nil
-- What catches errors must not catch the end of a script that takes too long.
local exhausted, try, handle = exhausted, pcall, xpcall
_G.exhausted = nil
local function result(ok, ...)
  if exhausted() then error('it took too many steps', 0) end
  return ok, ...
end
pcall = function(...) return result(try(...)) end
xpcall = function(...) return result(handle(...)) end
";

/// The checks of all kinds that have one; they go before the built-in ones.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Checks(Vec<Check>);

/// Group and kind are globs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    pub group: String,
    pub kind: String,
    pub script: String,
}

impl Checks {
    /// Of several that match a kind the first is taken.
    #[must_use]
    pub fn new(checks: Vec<Check>) -> Self {
        Self(checks)
    }

    /// The health of a live object; `None` where nothing is known about its kind. A script that fails makes it Unknown
    /// and says why.
    #[must_use]
    pub fn assess(&self, object: &Value) -> Option<Health> {
        let (group, kind) = (group(object), meta::kind(object));
        let matches = |check: &&Check| glob::matches(&check.group, group) && glob::matches(&check.kind, kind);
        match self.0.iter().find(matches) {
            Some(check) if !is_going(object) => run(&check.script, object).unwrap_or_else(|error| {
                Some(unknown(format!("the Lua check of {kind} in argocd-cm failed: {}", first_line(&error))))
            }),
            _ => assess(object),
        }
    }
}

fn first_line(error: &mlua::Error) -> String {
    error.to_string().lines().next().unwrap_or_default().chars().take(300).collect()
}

fn run(script: &str, object: &Value) -> mlua::Result<Option<Health>> {
    let lua = Lua::new_with(StdLib::TABLE | StdLib::STRING | StdLib::MATH, LuaOptions::default())?;
    lua.set_memory_limit(MEMORY)?;
    let left = Rc::new(Cell::new(STEPS));
    let seen = Rc::clone(&left);
    lua.globals().set("exhausted", lua.create_function(move |_, ()| Ok(seen.get() == 0))?)?;
    lua.load(PRELUDE).exec()?;
    lua.set_hook(HookTriggers::new().every_nth_instruction(STRIDE), move |_, _| {
        left.set(left.get().saturating_sub(STRIDE));
        match left.get() {
            0 => Err(mlua::Error::runtime("it took too many steps")),
            _ => Ok(VmState::Continue),
        }
    })?;
    // What is null is absent for a script.
    let options =
        mlua::serde::ser::Options::new().serialize_none_to_null(false).serialize_unit_to_null(false);
    lua.globals().set("obj", lua.to_value_with(object, options)?)?;
    let returned: mlua::Value = lua.load(script).set_name("check").eval()?;
    let table = match returned {
        mlua::Value::Table(table) => table,
        mlua::Value::Nil => return Ok(None),
        other => {
            let kind = other.type_name();
            return Err(mlua::Error::runtime(format!("expect table output from Lua script, not {kind}")));
        }
    };
    let text = |field: &str| table.get::<Option<String>>(field).map(Option::unwrap_or_default);
    let (status, message) = (text("status")?, text("message")?);
    Ok(Some(match HealthStatus::parse(&status) {
        Some(status) => Health::new(status, message),
        None => unknown("Lua returned an invalid health status"),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn health(script: &str) -> Option<Health> {
        let check =
            Check { group: "*.example.org".to_owned(), kind: "Shop".to_owned(), script: script.to_owned() };
        let object = json!({"apiVersion": "a.example.org/v1", "kind": "Shop", "metadata": {"name": "a"},
            "spec": {"none": null}, "status": {"ready": 2, "conditions": [{"type": "Ready", "status": "True"}]}});
        Checks::new(vec![check]).assess(&object)
    }

    #[test]
    fn a_script_sees_the_object_and_says_how_it_is() {
        let script = r#"
            local hs = {status = "Progressing", message = "waiting"}
            if obj.status ~= nil and obj.spec.none == nil then
              for i, condition in ipairs(obj.status.conditions) do
                if condition.type == "Ready" and condition.status == "True" then
                  hs.status = "Healthy"
                  hs.message = obj.metadata.name .. " " .. tostring(obj.status.ready) .. table.getn(obj.status.conditions)
                end
              end
            end
            return hs"#;
        assert_eq!(health(script), Some(Health::new(HealthStatus::Healthy, "a 21")));
        assert_eq!(health("return nil"), None);
        let invalid = health("return {status = 'Fine'}").unwrap();
        assert_eq!(invalid, unknown("Lua returned an invalid health status"));
    }

    #[test]
    fn a_script_that_fails_or_never_ends_makes_the_health_unknown() {
        let cases = [
            ("return 1", "expect table output from Lua script, not"),
            ("return obj.a.b", "attempt to index"),
            ("return {", "check"),
            ("while true do end", "it took too many steps"),
            ("while true do pcall(function() while true do end end) end", "it took too many steps"),
            ("local s = 'x' while true do s = s .. s end", "memory"),
            ("return os.getenv('HOME')", "attempt to index"),
            ("return io.open('/etc/passwd')", "attempt to index"),
            ("return load('return 1')()", "attempt to call"),
            ("return require('os')", "attempt to call"),
        ];
        for (script, reason) in cases {
            let health = health(script).unwrap();
            assert_eq!(health.status, HealthStatus::Unknown, "{script}");
            assert!(health.message.contains(reason), "{script}: {}", health.message);
        }
    }

    #[test]
    fn other_kinds_keep_the_built_in_checks() {
        let check = Check { group: String::new(), kind: "Pod".to_owned(), script: "return 1".to_owned() };
        let deleting = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}});
        let checks = Checks::new(vec![check]);
        assert_eq!(checks.assess(&deleting).unwrap().status, HealthStatus::Progressing);
        let map = json!({"apiVersion": "v1", "kind": "ConfigMap"});
        assert_eq!(checks.assess(&map), assess(&map));
    }
}
