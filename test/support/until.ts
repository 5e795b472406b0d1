/** Waits for a condition instead of for time: polls until `condition` is truthy, fails loudly at the deadline. */
export async function until<T>(
  condition: () => T | Promise<T>,
  { deadlineMs = 15_000, what = condition.toString() }: { deadlineMs?: number; what?: string } = {},
): Promise<NonNullable<Exclude<T, false>>> {
  const end = Date.now() + deadlineMs;
  let lastError: unknown;
  for (;;) {
    try {
      const value = await condition();
      if (value) return value as NonNullable<Exclude<T, false>>;
    } catch (error) {
      lastError = error;
    }
    if (Date.now() > end) {
      throw new Error(`not within ${deadlineMs} ms: ${what}`, { cause: lastError });
    }
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}
