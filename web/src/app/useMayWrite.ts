import { useQuery } from "@tanstack/react-query";
import { meQuery } from "../api/queries";

/** A viewer looks, an admin changes; the api checks it, this only spares buttons that would refuse. */
export function useMayWrite(): boolean {
  return useQuery(meQuery).data?.role === "admin";
}
