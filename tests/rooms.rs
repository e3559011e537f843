//! Which way calls go: the rooms of `src/` (its folders, and the files beside them) import each other in one direction, and
//! so do the files of a room. What a `mod.rs` re-exports is taken as the file's that it comes from; that it calls the files which it
//! declares, by their bare names, is not counted.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// A module's path below the crate: `["engine", "decode"]`.
type Module = Vec<String>;
/// Who imports whom.
type Graph = BTreeMap<Module, BTreeSet<Module>>;

/// The text of each module of a crate.
#[derive(Default)]
struct Sources(BTreeMap<Module, String>);

impl Sources {
    /// Reads every file below `folder`, but for binaries and the crate's root, which names all rooms.
    fn read(folder: &Path) -> Self {
        let mut sources = Self::default();
        sources.add(folder, &[]);
        sources.0.retain(|module, _| !module.is_empty() && module[0] != "bin" && module[0] != "lib");
        sources
    }

    fn add(&mut self, folder: &Path, module: &[String]) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
            let inner = [module, std::slice::from_ref(&name)].concat();
            if path.is_dir() {
                self.add(&path, &inner);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let module = if name == "mod" { module.to_vec() } else { inner };
                self.0.insert(module, code(&fs::read_to_string(&path).unwrap()));
            }
        }
    }

    /// The module that holds what `path` names: through re-exports, where a `mod.rs` has it from another file.
    fn holder(&self, path: &[String]) -> Option<Module> {
        let module = (1..=path.len()).rev().map(|len| &path[..len]).find(|part| self.0.contains_key(*part))?;
        let found = module.to_vec();
        let Some(item) = path.get(module.len()) else { return Some(found) };
        let reexports = paths(&self.0[&found], "pub use ").into_iter();
        let absolute = reexports.filter_map(|path| self.absolute(&found, &path));
        let source = absolute.filter(|path| path.last() == Some(item) && path.len() > 1).find(|path| path[..] != found);
        source.and_then(|path| self.holder(&path)).or(Some(found))
    }

    /// `path`, as `module` writes it, from the crate on; nothing for one that leaves it.
    fn absolute(&self, module: &[String], path: &[String]) -> Option<Module> {
        let first = path.first()?.as_str();
        if first == "crate" {
            return Some(path[1..].to_vec());
        }
        if first == "self" {
            return Some([module, &path[1..]].concat());
        }
        let ups = path.iter().take_while(|part| *part == "super").count();
        if ups > 0 {
            return Some([&module[..module.len().checked_sub(ups)?], &path[ups..]].concat());
        }
        let child = [module, &path[..1]].concat();
        self.0.contains_key(&child).then(|| [module, path].concat())
    }

    /// What a module that has `use super::*` names by that: files beside it, and what the folder's file has from elsewhere.
    fn seen_through_glob(&self, module: &Module) -> Vec<Module> {
        let text = &self.0[module];
        let Some((_, parent)) = module.split_last().filter(|_| text.contains("use super::*;")) else {
            return Vec::new();
        };
        let beside = self.0.keys().filter(|other| other.len() == module.len() && other.starts_with(parent));
        let beside = beside.filter(|other| !paths(text, &format!("{}::", other[parent.len()])).is_empty()).cloned();
        let had = paths(self.0.get(parent).map_or("", String::as_str), "use ").into_iter();
        let had = had.filter(|path| path.last().is_some_and(|item| has_word(text, item)));
        let had = had.filter_map(|path| self.absolute(parent, &path));
        beside.chain(had.filter(|path| !path.starts_with(module))).collect()
    }

    /// What each module names of the others, by paths from `crate`, `super` and `self`.
    fn imports(&self) -> Graph {
        let mut graph = Graph::new();
        for (module, text) in &self.0 {
            let own = |path: &Module| self.absolute(module, path).is_some_and(|path| path.starts_with(module));
            let reexports: BTreeSet<Module> = paths(text, "pub use ").into_iter().filter(own).collect();
            for alias in ["crate as ", "super as ", "self as "] {
                assert!(!text.contains(alias), "{module:?}: by another name a path is not followed");
            }
            let named = ["crate::", "super::", "self::"].into_iter().flat_map(|start| paths(text, start));
            let named = named.filter(|path| !reexports.contains(path));
            let named = named.filter_map(|path| self.absolute(module, &path)).chain(self.seen_through_glob(module));
            let holders = named.filter_map(|path| self.holder(&path));
            graph.insert(module.clone(), holders.filter(|holder| holder != module).collect());
        }
        graph
    }
}

/// Without comments, without tests and without what is re-exported from inside a block.
fn code(text: &str) -> String {
    let (before, tests) = text.split_once("#[cfg(test)]\nmod tests").unwrap_or((text, ""));
    let after = tests.split_once("\n}").map_or("", |(_, after)| after);
    let text = format!("{before}{after}");
    text.lines().map(|line| line.split("//").next().unwrap_or_default()).collect::<Vec<_>>().join("\n")
}

/// Whether `word` stands in `text` by itself.
fn has_word(text: &str, word: &str) -> bool {
    let part = |letter: char| letter.is_alphanumeric() || letter == '_';
    text.match_indices(word).any(|(at, _)| {
        !text[..at].ends_with(part) && !text[..at].ends_with(':') && !text[at + word.len()..].starts_with(part)
    })
}

/// Every path in `text` that begins with `start` (which is part of it, if it ends in `::`), groups taken apart.
fn paths(text: &str, start: &str) -> Vec<Module> {
    let mut found = Vec::new();
    for (at, _) in text.match_indices(start) {
        let before = text[..at].chars().next_back();
        if before.is_some_and(|before| before.is_alphanumeric() || before == '_' || before == ':') {
            continue;
        }
        let at = if start.ends_with("::") { at } else { at + start.len() };
        tree(&mut text[at..].chars().peekable(), &[], &mut found);
    }
    found
}

/// Reads `a::{b, c::d}` and what is like it; all paths of it, behind `before`, are added to `found`.
fn tree(text: &mut std::iter::Peekable<std::str::Chars>, before: &[String], found: &mut Vec<Module>) {
    let mut path = before.to_vec();
    loop {
        let mut name = String::new();
        while let Some(letter) = text.next_if(|letter| letter.is_alphanumeric() || *letter == '_') {
            name.push(letter);
        }
        if !name.is_empty() {
            path.push(name);
        }
        match text.peek() {
            Some(':') => {
                text.next();
                if text.next_if_eq(&':').is_none() {
                    break;
                }
            }
            Some('{') => {
                text.next();
                let begins = |letter: &char| letter.is_alphanumeric() || *letter == '_';
                loop {
                    while text.next_if(|letter| !begins(letter) && *letter != '}').is_some() {}
                    match text.peek() {
                        Some(letter) if begins(letter) => tree(text, &path, found),
                        _ => break,
                    }
                }
                text.next();
                return;
            }
            _ => break,
        }
    }
    found.push(path);
}

/// The rooms of the files of `graph`.
fn rooms(graph: &Graph) -> Graph {
    let mut rooms = Graph::new();
    for (module, imports) in graph {
        let room = rooms.entry(module[..1].to_vec()).or_default();
        room.extend(imports.iter().map(|import| import[..1].to_vec()).filter(|import| import[..] != module[..1]));
    }
    rooms
}

/// What can be reached from a module of `graph`.
fn reached<'a>(graph: &'a Graph, from: &'a Module) -> BTreeSet<&'a Module> {
    let (mut seen, mut next) = (BTreeSet::new(), vec![from]);
    while let Some(module) = next.pop() {
        next.extend(graph.get(module).into_iter().flatten().filter(|import| seen.insert(*import)));
    }
    seen
}

/// The circles of `graph`: of each knot of modules that all reach each other, the modules.
fn circles(graph: &Graph) -> BTreeSet<Vec<String>> {
    let all: BTreeMap<&Module, BTreeSet<&Module>> =
        graph.keys().map(|module| (module, reached(graph, module))).collect();
    let knot = |module: &Module| {
        let mutual = all[module].iter().filter(|other| all.get(*other).is_some_and(|back| back.contains(module)));
        mutual.map(|other| other.join("::")).collect::<Vec<String>>()
    };
    graph.keys().map(knot).filter(|knot| !knot.is_empty()).collect()
}

#[test]
fn rooms_import_each_other_in_one_direction() {
    let graph = rooms(&Sources::read(Path::new("src")).imports());
    for (room, imports) in &graph {
        println!("{} -> {:?}", room.concat(), imports.iter().map(|import| import.concat()).collect::<Vec<_>>());
    }
    assert!(graph[&vec!["engine".to_owned()]].len() > 5, "the imports are read");
    assert_eq!(circles(&graph), BTreeSet::new());
}

#[test]
fn files_import_each_other_in_one_direction() {
    let graph = Sources::read(Path::new("src")).imports();
    assert!(graph.values().map(BTreeSet::len).sum::<usize>() > 100, "the imports are read");
    assert_eq!(circles(&graph), BTreeSet::new());
}

#[test]
fn a_circle_is_found_however_it_is_written() {
    let found = |files: &[(&str, &str)]| {
        let module = |path: &str| path.split("::").map(str::to_owned).collect::<Module>();
        let sources = Sources(files.iter().map(|(path, text)| (module(path), code(text))).collect());
        let graph = sources.imports();
        (circles(&rooms(&graph)).len(), circles(&graph).len())
    };
    let a = ("a", "use crate::b::B;");
    assert_eq!(found(&[a, ("b", "use crate::error::Error;"), ("error", "")]), (0, 0));
    assert_eq!(found(&[a, ("b", "use crate::a::A;")]), (1, 1));
    assert_eq!(
        found(&[a, ("b", "use crate::{error::Error, c};"), ("c", "fn c() { crate::a::a() }"), ("error", "")]),
        (1, 1)
    );
    assert_eq!(found(&[a, ("b", "// use crate::a::A;\n#[cfg(test)]\nmod tests { use crate::a; }")]), (0, 0));
    // Two files of one room, and a third room's between them that is none.
    assert_eq!(found(&[("a", ""), ("a::x", "use super::y::Y;"), ("a::y", "use super::{x::{X, Z}, w};")]), (0, 1));
    // Rooms may be in a circle where files are not.
    assert_eq!(found(&[("a", ""), ("a::x", "use crate::b::B;"), ("a::y", ""), ("b", "use crate::a::y::Y;")]), (1, 0));
    // What the folder's file re-exports is its own file's; what it uses is used.
    let reexported = ("a", "mod x;\npub use x::{W, X};");
    assert_eq!(found(&[reexported, ("a::x", ""), ("a::y", "use super::X;")]), (0, 0));
    assert_eq!(found(&[reexported, ("a::x", "use super::y::Y;"), ("a::y", "use super::X;")]), (0, 1));
    assert_eq!(found(&[("a", "use self::x::X;"), ("a::x", "use super::A;")]), (0, 1));
    // What is named through `use super::*`: a file beside it, and what the folder's file has of one.
    let folder = ("a", "mod x;\nmod y;\npub use x::X;");
    assert_eq!(
        found(&[folder, ("a::x", "use super::*;\nfn f() { y::g() }"), ("a::y", "use super::*;\nfn g(_: X) {}")]),
        (0, 1)
    );
    assert_eq!(
        found(&[folder, ("a::x", "use super::*;\nstruct X;"), ("a::y", "use super::*;\nfn g(_: X) {}")]),
        (0, 0)
    );
    // What another room holds is used, re-exported or not; and what stands below the tests counts.
    assert_eq!(found(&[("a", "pub use crate::b::B;"), ("b", "use crate::a::A;")]), (1, 1));
    assert_eq!(found(&[a, ("b", "#[cfg(test)]\nmod tests {\n}\n\nuse crate::a::A;")]), (1, 1));
}
