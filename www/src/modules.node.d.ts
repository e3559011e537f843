/** As much of Node's modules as is used here. */
declare module "node:process" {
  const process: {
    env: Record<string, string | undefined>;
    platform: string;
    argv: string[];
    exitCode: number | undefined;
    stdout: Output;
    stderr: Output;
    on(event: "uncaughtException" | "unhandledRejection", listener: (reason: unknown) => void): void;
  };
  interface Output {
    isTTY?: boolean;
    write(text: string): void;
    on(event: "error", listener: (error: Error) => void): void;
  }
  export default process;
}

declare module "node:crypto" {
  export function randomUUID(): string;
}

declare module "node:fs" {
  import type { Readable } from "node:stream";
  export function createReadStream(path: string, options: { highWaterMark: number; signal: AbortSignal | undefined }): Readable;
}

declare module "node:fs/promises" {
  export interface Stats {
    size: number;
    mtimeMs: number;
    isDirectory(): boolean;
    isFile(): boolean;
  }
  export function mkdir(path: string, options: { recursive: true }): Promise<unknown>;
  export function readdir(path: string): Promise<string[]>;
  export function readFile(path: string): Promise<Uint8Array<ArrayBuffer>>;
  export function rename(from: string, to: string): Promise<void>;
  export function rm(path: string, options: { force: true }): Promise<void>;
  export function stat(path: string): Promise<Stats>;
  export function writeFile(path: string, contents: Uint8Array | string): Promise<void>;
}

declare module "node:os" {
  export function availableParallelism(): number;
  export function homedir(): string;
}

declare module "node:path" {
  export function join(...names: string[]): string;
  export function resolve(path: string): string;
}

declare module "node:stream" {
  export class Readable {
    static toWeb(stream: Readable): ReadableStream<Uint8Array<ArrayBuffer>>;
  }
}

declare module "node:url" {
  export function fileURLToPath(url: URL): string;
  export function pathToFileURL(path: string): URL;
}

declare module "node:util" {
  interface Option {
    type: "string" | "boolean";
    short?: string;
  }
  export function parseArgs<T extends Record<string, Option>>(config: { options: T; allowPositionals: true; args?: string[] }): {
    values: { [Name in keyof T]?: T[Name]["type"] extends "string" ? string : boolean };
    positionals: string[];
  };
}

declare module "node:worker_threads" {
  export class Worker {
    constructor(script: string, options: { eval: true; execArgv: string[]; env: Record<string, string | undefined> });
    on(event: "message", listener: (message: never) => void): void;
    on(event: "error", listener: (error: Error) => void): void;
    on(event: "exit", listener: () => void): void;
    postMessage(message: unknown): void;
    ref(): void;
    unref(): void;
    terminate(): Promise<number>;
  }
  export const parentPort: { on(event: "message", listener: (message: never) => void): void; postMessage(message: unknown): void } | null;
}
