//! The template language of the shaders in `shaders/`, and what makes one a kernel of CubeCL's.

use burn::backend::wgpu::{KernelSource, SourceTemplate};
use cubecl::ir::settings::Dim3;
use cubecl::prelude::{ExecutionMode, KernelId};

use crate::quant::Format;

/// Invocations in a workgroup where the shader says nothing else; also written in its `@workgroup_size`.
pub(crate) const WORKGROUP: usize = 64;

/// One variant of a shader: its text and everything that is baked into it.
#[derive(Clone, Debug)]
pub struct Shader {
    /// Basename of the file in `shaders/`, which is also the name of the operation.
    pub name: &'static str,
    /// The text of that file.
    pub text: &'static str,
    /// Constants put before the text as `const NAME: u32`, which `#if NAME` also tests for being non-zero.
    pub constants: Vec<(&'static str, u32)>,
    /// Fields of the uniform `dims`, in the order of the words a launch passes: `u32` unless written as `name: f32`.
    pub dims: &'static [&'static str],
}

impl Shader {
    /// The complete WGSL module. `#import name` stands for `shaders/shared/name.wgsl`, `#import weight_format` for what the
    /// weight format of the number FORMAT has; `#if NAME`, `#else` and `#endif`
    /// select lines by a constant; `#repeat i COUNT` to `#end` writes its lines COUNT times with the number for `$i` (a
    /// driver may keep a loop's array in memory, but not named variables), also one inside another; the uniform `dims`
    /// is bound after the storage buffers. The constants SUBGROUPS, SUBGROUP_MATRIX and F16_TILES enable the extensions they need.
    ///
    /// # Panics
    /// On an unknown import or constant: a mistake in a shader, which the tests find.
    pub fn source(&self) -> String {
        let mut body = String::new();
        self.expand(self.text, &mut body);
        let mut source = format!("// {}\n", self.name);
        // naga has subgroups but does not know the lines that enable them. What four neighbouring invocations do alike
        // may depend on a buffer (the position), which browsers would not believe.
        if cfg!(target_family = "wasm") && self.constants.contains(&("SUBGROUPS", 1)) {
            source.push_str("enable subgroups;\ndiagnostic(off, subgroup_uniformity);\n");
        }
        if self.constants.contains(&("SUBGROUP_MATRIX", 1)) {
            source.push_str("enable chromium_experimental_subgroup_matrix;\n");
            source.push_str("diagnostic(off, chromium.subgroup_matrix_uniformity);\n");
        }
        if self.constants.contains(&("F16_TILES", 1)) {
            source.push_str("enable f16;\n");
        }
        for (name, value) in &self.constants {
            source.push_str(&format!("const {name}: u32 = {value}u;\n"));
        }
        let fields: Vec<String> = self
            .dims
            .iter()
            .map(|field| if field.contains(':') { field.to_string() } else { format!("{field}: u32") })
            .collect();
        let binding = body.matches("var<storage").count();
        source.push_str(&format!("struct Dims {{ {} }}\n", fields.join(", ")));
        source.push_str(&format!("@group(0) @binding({binding}) var<uniform> dims: Dims;\n"));
        source + &body
    }

    fn expand(&self, text: &str, out: &mut String) {
        let mut taken: Vec<bool> = Vec::new();
        let mut lines = text.lines();
        while let Some(line) = lines.next() {
            let mut words = line.split_whitespace();
            match words.next() {
                Some("#if") => taken.push(self.constant(words.next().unwrap_or_default()) != 0),
                Some("#else") => {
                    let last = taken.last_mut().expect("#else without #if");
                    *last = !*last;
                }
                Some("#endif") => drop(taken.pop().expect("#endif without #if")),
                _ if taken.contains(&false) => {}
                Some("#import") => self.expand(self.import(words.next().unwrap_or_default()), out),
                Some("#repeat") => {
                    let number = format!("${}", words.next().expect("a name after #repeat"));
                    let count = words.next().expect("a count after #repeat");
                    let count = count.parse().unwrap_or_else(|_| self.constant(count));
                    let mut depth = 1;
                    let inside = |line: &&str| {
                        let first = line.split_whitespace().next();
                        depth += (first == Some("#repeat")) as i32 - (first == Some("#end")) as i32;
                        depth > 0
                    };
                    let body: Vec<&str> = lines.by_ref().take_while(inside).collect();
                    for i in 0..count {
                        self.expand(&body.join("\n").replace(&number, &i.to_string()), out);
                    }
                }
                _ => {
                    out.push_str(line);
                    out.push('\n');
                }
            }
        }
        assert!(taken.is_empty(), "{}: #if without #endif", self.name);
    }

    fn import(&self, name: &str) -> &'static str {
        match name {
            "weight_format" => Format::ALL[self.constant("FORMAT") as usize].wgsl(),
            _ => shared(name),
        }
    }

    fn constant(&self, name: &str) -> u32 {
        let found = self.constants.iter().find(|(known, _)| *known == name);
        found.unwrap_or_else(|| panic!("{}: unknown constant `{name}`", self.name)).1
    }
}

/// The text of `shaders/shared/<name>.wgsl`.
fn shared(name: &str) -> &'static str {
    match name {
        "activation" => wgsl!("shared/activation"),
        "attention_quads" => wgsl!("shared/attention_quads"),
        "attention_split" => wgsl!("shared/attention_split"),
        "attention_words" => wgsl!("shared/attention_words"),
        "bytes" => wgsl!("shared/bytes"),
        "epilogue" => wgsl!("shared/epilogue"),
        "epilogue_rope_cache" => wgsl!("shared/epilogue_rope_cache"),
        "epilogue_gated" => wgsl!("shared/epilogue_gated"),
        "epilogue_sum" => wgsl!("shared/epilogue_sum"),
        "finish_group" => wgsl!("shared/finish_group"),
        "finish_tile" => wgsl!("shared/finish_tile"),
        "flat_index" => wgsl!("shared/flat_index"),
        "halves" => wgsl!("shared/halves"),
        "nibbles" => wgsl!("shared/nibbles"),
        "own_tile" => wgsl!("shared/own_tile"),
        "rows" => wgsl!("shared/rows"),
        "super_block" => wgsl!("shared/super_block"),
        "tile" => wgsl!("shared/tile"),
        "weight" => wgsl!("shared/weight"),
        _ => panic!("unknown shader import `{name}`"),
    }
}

impl KernelSource for Shader {
    fn source(&self) -> SourceTemplate {
        SourceTemplate::new(Shader::source(self))
    }

    fn id(&self) -> KernelId {
        // Unchecked: our loops end by themselves and every access is guarded in the shader, so naga need not add
        // either.
        KernelId::new::<Self>()
            .info((self.name, self.constants.clone()))
            .cube_dim(Dim3::new_1d(WORKGROUP as u32))
            .mode(ExecutionMode::Unchecked)
    }

    fn lang(&self) -> &'static str {
        "wgsl"
    }
}
