// As much of the WebAssembly binary format as it takes to see what exported functions do first.
// https://webassembly.github.io/spec/core/binary/modules.html

const IMPORTS = 2;
const EXPORTS = 7;
const CODE = 10;
const CALL = 0x10;

/** For every exported function: its name, and the function it calls as its very first instruction, if that is one. */
export function firstCalls(bytes) {
  const sections = readSections(bytes);
  const imported = countImportedFunctions(sections.get(IMPORTS));
  const bodies = readBodies(sections.get(CODE));
  return readFunctionExports(sections.get(EXPORTS)).map(({ name, index }) => ({ name, callee: firstCall(bodies[index - imported]) }));
}

class Reader {
  constructor(bytes) {
    this.bytes = bytes;
    this.at = 0;
  }

  byte() {
    return this.bytes[this.at++];
  }

  /** An unsigned LEB128 number. */
  number() {
    let value = 0;
    for (let scale = 1; ; scale *= 128) {
      const byte = this.byte();
      value += (byte & 127) * scale;
      if (byte < 128) return value;
    }
  }

  take(length) {
    this.at += length;
    return this.bytes.subarray(this.at - length, this.at);
  }

  name() {
    return new TextDecoder().decode(this.take(this.number()));
  }

  list(read) {
    return Array.from({ length: this.number() }, () => read(this));
  }

  limits() {
    const hasMaximum = this.byte() & 1;
    this.number();
    if (hasMaximum) this.number();
  }
}

function readSections(bytes) {
  const reader = new Reader(bytes);
  reader.take(8); // magic and version
  const sections = new Map();
  while (reader.at < bytes.length) {
    const id = reader.byte();
    sections.set(id, reader.take(reader.number()));
  }
  return sections;
}

function countImportedFunctions(section) {
  const kinds = new Reader(section).list((reader) => {
    reader.name();
    reader.name();
    const kind = reader.byte();
    if (kind === 0) reader.number();
    else if (kind === 1) (reader.byte(), reader.limits());
    else if (kind === 2) reader.limits();
    else if (kind === 3) reader.take(2);
    else throw new Error(`import of kind ${kind}`);
    return kind;
  });
  return kinds.filter((kind) => kind === 0).length;
}

function readFunctionExports(section) {
  const exports = new Reader(section).list((reader) => ({ name: reader.name(), kind: reader.byte(), index: reader.number() }));
  return exports.filter(({ kind }) => kind === 0);
}

function readBodies(section) {
  return new Reader(section).list((reader) => reader.take(reader.number()));
}

function firstCall(body) {
  if (!body) return undefined; // an import that is exported again
  const reader = new Reader(body);
  reader.list((locals) => locals.number() + locals.byte());
  return reader.byte() === CALL ? reader.number() : undefined;
}
