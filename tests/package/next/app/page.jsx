"use client";
import { caption } from "llava-web";
import { useEffect, useState } from "react";

export default function Page() {
  const [text, setText] = useState("");
  const [running, setRunning] = useState(false);
  useEffect(() => setRunning(true), []);
  const describe = async () => setText(await caption("samples/scenes-6.jpg").catch((error) => `${error.name} ${error.code}: ${error.message}`));
  return (
    <>
      <button disabled={!running} onClick={describe}>
        describe
      </button>
      <output>{text}</output>
    </>
  );
}
