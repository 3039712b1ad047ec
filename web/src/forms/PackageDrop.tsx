import { useState } from "react";
import { uploadPackage } from "../api/calls";
import { Icon } from "../ui/Icon";
import { Fault } from "../ui/parts";
import { bytes } from "../ui/time";

export interface Uploaded {
  name: string;
  version: string;
  filename: string;
}

/** Takes a script, wheel or source distribution into the private index; of a script the api makes a wheel. */
export function PackageDrop({ onPackage }: { onPackage: (uploaded: Uploaded) => void }) {
  const [over, setOver] = useState(false);
  const [state, setState] = useState<{ busy?: File; done?: Uploaded; error?: unknown }>({});

  const take = async (file: File | undefined) => {
    setOver(false);
    if (!file) return;
    setState({ busy: file });
    try {
      const done = await uploadPackage({ body: { content: file } });
      setState({ done });
      onPackage(done);
    } catch (error) {
      setState({ error });
    }
  };

  return (
    <div className="stack" style={{ gap: 10 }}>
      {/* biome-ignore lint/a11y/noStaticElementInteractions: dropping is for the mouse; the input inside has the keys. */}
      <div
        className={`drop ${over ? "over" : ""}`}
        onDragOver={(event) => {
          event.preventDefault();
          setOver(true);
        }}
        onDragLeave={() => setOver(false)}
        onDrop={(event) => {
          event.preventDefault();
          void take(event.dataTransfer.files[0]);
        }}
      >
        <Icon name={state.busy ? "spinner" : state.done ? "check" : "upload"} size={22} />
        <strong>
          {state.busy
            ? `Uploading ${state.busy.name} (${bytes(state.busy.size)})…`
            : state.done
              ? state.done.filename
              : "Drop a script, a wheel or an sdist here"}
        </strong>
        <span className="muted">
          {state.done
            ? "In the private index. Drop another one to replace it."
            : "a .py, .whl or .tar.gz; or name a package below"}
        </span>
        <input
          type="file"
          aria-label="Script, wheel or source distribution"
          accept=".py,.whl,.gz"
          onChange={(event) => void take(event.target.files?.[0])}
        />
      </div>
      {state.error !== undefined && <Fault error={state.error} />}
    </div>
  );
}
