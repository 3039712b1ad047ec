/** Where the api is: everything is relative to <base href>, so that Kirby works below any path. */
export const basePath = new URL(document.baseURI).pathname.replace(/\/$/, "");

export function apiUrl(path: string, query: Record<string, string | number | undefined> = {}): string {
  const url = new URL(`${basePath}/api/v1/${path}`, document.baseURI);
  for (const [name, value] of Object.entries(query)) {
    if (value !== undefined && value !== "") url.searchParams.set(name, String(value));
  }
  return url.href;
}
