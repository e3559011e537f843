//! Puts a wasm's functions in the order in which gzip finds most in common between neighbours. It looks back 32 KB only, and
//! functions come sorted by size from wasm-bindgen. For the engine that is 2.42 MB instead of 2.67; brotli, which looks back
//! further, gains a thirtieth.

use anyhow::{Context, Result};
use std::fs;
use std::path::Path;
use wasm_encoder::reencode::{Error, Reencode};
use wasm_encoder::{CodeSection, FunctionSection, Module};
use wasmparser::{CodeSectionReader, FunctionBody, FunctionSectionReader, Parser, Payload};

type Encoding<T> = std::result::Result<T, Error>;

/// Rewrites `file` with its functions in another order: nothing else of it changes.
pub fn functions(file: &Path) -> Result<()> {
    let wasm = fs::read(file).with_context(|| file.display().to_string())?;
    let mut order = Order::of(&wasm)?;
    let mut module = Module::new();
    order
        .parse_core_module(&mut module, Parser::new(0), &wasm)
        .with_context(|| format!("{}: not a wasm that is known here", file.display()))?;
    fs::write(file, module.finish())?;
    Ok(())
}

/// Functions by their old and new places, those of the module itself only.
struct Order {
    imported: u32,
    /// The old index of each, in the new order.
    old: Vec<usize>,
    /// The new index of each, in the old order.
    new: Vec<u32>,
}

impl Order {
    fn of(wasm: &[u8]) -> Result<Self> {
        let (mut imported, mut likeness) = (0, Vec::new());
        for payload in Parser::new(0).parse_all(wasm) {
            match payload? {
                Payload::ImportSection(imports) => {
                    for import in imports.into_imports() {
                        imported += u32::from(matches!(import?.ty, wasmparser::TypeRef::Func(_)));
                    }
                }
                Payload::CodeSectionEntry(body) => likeness.push(likeness_of(&body)?),
                _ => {}
            }
        }
        let mut old: Vec<usize> = (0..likeness.len()).collect();
        old.sort_by(|&a, &b| likeness[a].cmp(&likeness[b]));
        let mut new = vec![0; old.len()];
        for (place, &function) in old.iter().enumerate() {
            new[function] = imported + place as u32;
        }
        Ok(Order { imported, old, new })
    }
}

/// What neighbours should have in common: operators from the end on, and among the same ones the bytes. Functions that end alike tend to
/// be alike, more than those that begin alike.
fn likeness_of(body: &FunctionBody<'_>) -> Result<(Vec<u8>, Vec<u8>)> {
    let bytes = body.as_bytes();
    let (start, mut reader) = (body.range().start, body.get_operators_reader()?);
    let mut operators = Vec::new();
    while !reader.eof() {
        operators.push(bytes[usize::try_from(reader.original_position() - start)?]);
        reader.read()?;
    }
    operators.reverse();
    Ok((operators, bytes.iter().rev().copied().collect()))
}

impl Reencode for Order {
    type Error = std::convert::Infallible;

    fn function_index(&mut self, function: u32) -> Encoding<u32> {
        Ok(function.checked_sub(self.imported).map_or(function, |own| self.new[own as usize]))
    }

    fn parse_function_section(
        &mut self,
        functions: &mut FunctionSection,
        section: FunctionSectionReader<'_>,
    ) -> Encoding<()> {
        let types = section.into_iter().collect::<std::result::Result<Vec<u32>, _>>()?;
        for &function in &self.old {
            functions.function(types[function]);
        }
        Ok(())
    }

    fn parse_code_section(&mut self, code: &mut CodeSection, section: CodeSectionReader<'_>) -> Encoding<()> {
        let bodies = section.into_iter().collect::<std::result::Result<Vec<_>, _>>()?;
        for function in self.old.clone() {
            self.parse_function_body(code, bodies[function].clone())?;
        }
        Ok(())
    }
}
