// Lets the thread take its turn at other things: messages that wait for it, of an abort too.

let waiting = [];
let channel;

/** Resolves once what waits for this thread has been done. Timers would make it wait for milliseconds. */
export function turn() {
  if (!channel) {
    channel = new MessageChannel();
    channel.port1.onmessage = () => {
      channel.port1.unref?.(); // Node would wait for more
      waiting.shift()();
    };
  }
  return new Promise((resolve) => {
    waiting.push(resolve);
    channel.port1.ref?.();
    channel.port2.postMessage(undefined);
  });
}
