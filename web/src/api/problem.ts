/** An answer of the api that says no: `detail` is the sentence for the user (RFC 9457). */
export class Problem extends Error {
  constructor(
    readonly status: number,
    readonly detail: string,
  ) {
    super(detail);
    this.name = "Problem";
  }
}

interface FieldFault {
  loc?: (string | number)[];
  msg?: string;
}

const SENTENCES: Record<number, string> = {
  0: "The api does not answer. Is it running?",
  401: "Sign in to go on.",
  403: "Your role does not allow this.",
  404: "This does not exist, or no longer.",
  412: "Somebody else changed this meanwhile: reload, then change it again.",
  502: "The api does not answer right now; it may be restarting.",
  503: "The api is not ready yet.",
};

function detailOf(body: unknown): string | undefined {
  if (typeof body !== "object" || body === null) return undefined;
  const { detail, title } = body as { detail?: unknown; title?: unknown };
  if (typeof detail === "string" && detail) return detail;
  if (Array.isArray(detail)) {
    return (detail as FieldFault[]).map((fault) => `${fault.loc?.slice(1).join(".")}: ${fault.msg}`).join("; ");
  }
  return typeof title === "string" ? title : undefined;
}

export function toProblem(body: unknown, status: number): Problem {
  if (body instanceof Problem) return body;
  return new Problem(status, detailOf(body) ?? SENTENCES[status] ?? `The api answered ${status}.`);
}

/** One sentence for anything that was thrown. */
export function sentence(error: unknown): string {
  if (error instanceof Problem) return error.detail;
  return error instanceof Error ? error.message : String(error);
}
