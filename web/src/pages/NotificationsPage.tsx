import { PageHead } from "../ui/Page";
import { EntityList } from "./EntityList";
import { groups, notifications } from "./kinds/notifications";

export function NotificationsPage() {
  return (
    <>
      <PageHead title="Notifications" about="Who is told when a run fails or is tried again." />
      <EntityList path="notifications" kind={{ ...notifications, title: "Who is told of what" }} part />
      <EntityList path="notification-groups" kind={groups} part />
    </>
  );
}
