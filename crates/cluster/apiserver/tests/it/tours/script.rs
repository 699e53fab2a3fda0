//! The text files that tours are written in.
//!
//! A case begins with `=== NAME`; it has a namespace and a directory of its own. Blocks separated by empty lines are
//! its steps. The first line of a block is one of
//!
//! - `$ PROGRAM ARGUMENT…` (quoted as in a shell): runs it with the rest of the block as standard input
//! - `& PROGRAM ARGUMENT…`: starts it, and ends it after the last step, once it has printed what `lines=N` says
//! - `@ NAME`: writes the rest of the block to a file; one called `editor` is what `kubectl edit` starts
//!
//! A line `> NAME` in a block keeps what was printed as `$NAME`; `$NS` is the namespace. Options in brackets before a
//! program: `only=PATTERN` compares only lines that match, `quiet` only the exit code, `lines=N`. Lines that begin with
//! `#` are comments.

use std::path::Path;

#[derive(Debug)]
pub(super) struct Case {
    pub(super) name: String,
    pub(super) files: Vec<(String, String)>,
    pub(super) steps: Vec<Step>,
}

#[derive(Debug, Default)]
pub(super) struct Step {
    /// The first line, for reports.
    pub(super) line: String,
    pub(super) words: Vec<String>,
    pub(super) input: String,
    pub(super) keep: Option<String>,
    pub(super) only: Option<String>,
    pub(super) quiet: bool,
    /// For a command in the background: the lines it prints.
    pub(super) background: Option<usize>,
}

/// The cases of each file, by its name.
pub(super) fn read(directory: &Path) -> Vec<(String, Vec<Case>)> {
    let mut paths: Vec<_> = std::fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "txt"))
        .collect();
    paths.sort();
    let file = |path: &std::path::PathBuf| {
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        (name, parse(&std::fs::read_to_string(path).unwrap()))
    };
    paths.iter().map(file).collect()
}

fn parse(text: &str) -> Vec<Case> {
    let mut cases: Vec<Case> = Vec::new();
    let plain: Vec<&str> = text.lines().filter(|line| !line.starts_with("# ") && *line != "#").collect();
    for block in plain.split(|line| line.trim().is_empty()).filter(|block| !block.is_empty()) {
        let mut lines = block.iter();
        let mut first = *lines.next().unwrap();
        if let Some(name) = first.strip_prefix("=== ") {
            assert!(cases.iter().all(|case| case.name != name), "two cases are called {name:?}");
            cases.push(Case { name: name.to_owned(), files: Vec::new(), steps: Vec::new() });
            match lines.next() {
                Some(next) => first = next,
                None => continue,
            }
        }
        let case = cases.last_mut().expect("a file begins with a case");
        if let Some(name) = first.strip_prefix("@ ") {
            case.files.push((name.to_owned(), lines.map(|line| format!("{line}\n")).collect()));
            continue;
        }
        let mut step = command(first);
        for line in lines {
            match line.strip_prefix("> ") {
                Some(name) => step.keep = Some(name.to_owned()),
                None => step.input.push_str(&format!("{line}\n")),
            }
        }
        case.steps.push(step);
    }
    cases
}

fn command(line: &str) -> Step {
    let mut step = Step { line: line.to_owned(), ..Step::default() };
    let background = line.starts_with("& ");
    let rest = line.strip_prefix("$ ").or(line.strip_prefix("& "));
    let mut rest = rest.unwrap_or_else(|| panic!("{line:?} is no command"));
    let mut count = 1;
    if let Some((options, after)) = rest.strip_prefix('[').and_then(|rest| rest.split_once("] ")) {
        rest = after;
        for option in split(options) {
            match option.split_once('=') {
                Some(("only", pattern)) => step.only = Some(pattern.to_owned()),
                Some(("lines", number)) => count = number.parse().unwrap(),
                None if option == "quiet" => step.quiet = true,
                _ => panic!("{line:?}: no option {option:?}"),
            }
        }
    }
    step.background = background.then_some(count);
    step.words = split(rest);
    step
}

/// Words as a shell makes them, with both kinds of quotes and no escapes.
fn split(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let (mut word, mut quote) = (None::<String>, None);
    for c in line.chars() {
        match (c, quote) {
            (c, Some(open)) if c == open => quote = None,
            ('\'' | '"', None) => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (' ', None) => words.extend(word.take()),
            (c, _) => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    words
}

#[test]
fn lines_are_split_as_in_a_shell() {
    assert_eq!(split(r#"a 'b c' d="e 'f'" '' "#), ["a", "b c", "d=e 'f'", ""]);
}
