// Scripts of workers as texts, with all that they import, which scripts/bundle.mjs puts in.

/** helper.ts, or in Node helper.node.ts. */
declare module "llava-web:helper" {
  export const script: string;
}

/** worker.node.ts. */
declare module "llava-web:worker" {
  export const script: string;
}
