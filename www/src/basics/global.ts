/** The objects of a class that a library of types may know; `never` where it does not, as Node's knows no `ImageData`. */
export type Global<Name extends string> = typeof globalThis extends { [name in Name]: { prototype: infer Instance } } ? Instance : never;
