import { ScheduleDialog } from "../forms/ScheduleDialog";
import { EntityList } from "./EntityList";
import { configKeys } from "./kinds/configKeys";
import { environments } from "./kinds/environments";
import { exceptions } from "./kinds/exceptions";
import { limits } from "./kinds/limits";
import { schedules } from "./kinds/schedules";
import { scripts } from "./kinds/scripts";
import { topics } from "./kinds/topics";

/** The lists of the script database that need no more than a list. */
export function EntitiesPage({
  kind,
}: {
  kind: "schedules" | "exceptions" | "limits" | "environments" | "config-keys" | "scripts" | "topics";
}) {
  switch (kind) {
    case "schedules":
      return (
        <EntityList
          path={kind}
          kind={schedules}
          editor={(schedule, close) => <ScheduleDialog schedule={schedule} onClose={close} />}
        />
      );
    case "exceptions":
      return <EntityList path={kind} kind={exceptions} />;
    case "limits":
      return <EntityList path={kind} kind={limits} />;
    case "environments":
      return <EntityList path={kind} kind={environments} />;
    case "config-keys":
      return <EntityList path={kind} kind={configKeys} />;
    case "scripts":
      return <EntityList path={kind} kind={scripts} />;
    case "topics":
      return <EntityList path={kind} kind={topics} />;
  }
}
