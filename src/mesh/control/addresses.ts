/** The URLs this mesh publishes for what it serves; decided where the ports are known. */
export interface Addresses {
  /** Where events for a broker are POSTed. */
  broker(key: { readonly namespace: string; readonly name: string }): string;
  /** Where requests for a RequestReply are POSTed; its replies go to `reply` below it. */
  requestReply(key: { readonly namespace: string; readonly name: string }): string;
  /** Where a function answers; with `tag`, the tagged revision of it. */
  function(key: { readonly namespace: string; readonly name: string }, tag?: string): string;
}
