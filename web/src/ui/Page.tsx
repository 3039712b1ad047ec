import type { ReactNode } from "react";
import { usePageTitle } from "../app/usePageTitle";

interface PageHeadProps {
  title: ReactNode;
  /** The window's title, when `title` is more than text. */
  name?: string;
  crumbs?: ReactNode;
  about?: ReactNode;
  children?: ReactNode;
}

export function PageHead({ title, name, crumbs, about, children }: PageHeadProps) {
  usePageTitle(name ?? (typeof title === "string" ? title : ""));
  return (
    <div className="page-head">
      <div>
        {crumbs && <div className="crumbs">{crumbs}</div>}
        <h1>{title}</h1>
        {about && <p>{about}</p>}
      </div>
      {children && <div className="row">{children}</div>}
    </div>
  );
}
