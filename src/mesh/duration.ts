/**
 * ISO 8601 durations as Knative writes them (sheet knative-eventing §1.5): `[-+]P[nY][nM][nW][nD][T[nH][nM][nS]]`,
 * upper case, decimal mark `.` or `,`. Upstream keeps one decimal digit only; here every digit counts.
 */

const YEAR_MS = 365.2425 * 86_400_000;
const UNITS_MS = [YEAR_MS, YEAR_MS / 12, 7 * 86_400_000, 86_400_000, 3_600_000, 60_000, 1000];

const NUMBER = "(\\d+(?:[.,]\\d+)?)";
const GRAMMAR = new RegExp(
  `^([-+])?P(?:${NUMBER}Y)?(?:${NUMBER}M)?(?:${NUMBER}W)?(?:${NUMBER}D)?` +
    `(T(?:${NUMBER}H)?(?:${NUMBER}M)?(?:${NUMBER}S)?)?$`,
);

/** Milliseconds (possibly fractional or negative); undefined when the text is no such duration. */
export function parseDuration(text: string): number | undefined {
  if (/^[-+]?P0$/.test(text)) return 0;
  const parts = GRAMMAR.exec(text);
  if (parts === null) return undefined;
  const [, sign, years, months, weeks, days, time, hours, minutes, seconds] = parts;
  const numbers = [years, months, weeks, days, hours, minutes, seconds];
  if (time === "T" || numbers.every((number) => number === undefined)) return undefined;
  const total = numbers.reduce((sum, number, unit) => {
    return number === undefined ? sum : sum + Number(number.replace(",", ".")) * (UNITS_MS[unit] ?? 0);
  }, 0);
  return sign === "-" && total !== 0 ? -total : total;
}
