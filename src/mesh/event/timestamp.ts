/**
 * WHETHER a text is an RFC 3339 timestamp, and when that is. An event's text is only checked, never converted: it
 * keeps its offset, its fraction of any length and its leap second. `Date.parse` alone is no help: it takes other
 * forms and refuses some of this one's.
 */

const daysInMonth = [31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];

/** `2026-01-31T12:00:00.5+01:00`; `t` and `z` as well; second 60 only where a leap second can be (23:59 UTC). */
export function isTimestamp(value: string): boolean {
  const year = digits(value, 0, 4);
  const month = digits(value, 5, 2);
  const day = digits(value, 8, 2);
  const hour = digits(value, 11, 2);
  const minute = digits(value, 14, 2);
  const second = digits(value, 17, 2);
  if (year < 0 || month < 1 || month > 12 || day < 1 || hour < 0 || minute < 0 || second < 0) return false;
  if (value.charCodeAt(4) !== 0x2d || value.charCodeAt(7) !== 0x2d) return false;
  if ((value.charCodeAt(10) | 0x20) !== 0x74) return false;
  if (value.charCodeAt(13) !== 0x3a || value.charCodeAt(16) !== 0x3a) return false;
  if (day > (daysInMonth[month - 1] ?? 0) || (month === 2 && day === 29 && !isLeapYear(year))) return false;
  if (hour > 23 || minute > 59 || second > 60) return false;
  const offset = offsetMinutes(value, fractionEnd(value));
  if (offset === undefined) return false;
  return second < 60 || (hour * 60 + minute - offset + 2880) % 1440 === 1439;
}

/** Epoch milliseconds of an RFC 3339 timestamp (a leap second is the one after it); undefined for anything else. */
export function instantOf(value: string): number | undefined {
  if (!isTimestamp(value)) return undefined;
  if (value.slice(17, 19) !== "60") return Date.parse(value.toUpperCase());
  return Date.parse(`${value.slice(0, 17)}59${value.slice(fractionEnd(value))}`.toUpperCase()) + 1000;
}

/** The index after the optional fraction; a point without a digit is left in place and then refused. */
function fractionEnd(value: string): number {
  if (value.charCodeAt(19) !== 0x2e) return 19;
  let at = 20;
  while (isDigit(value.charCodeAt(at))) at += 1;
  return at === 20 ? 19 : at;
}

/** `Z` or ±hh:mm up to the very end; undefined when it is neither. */
function offsetMinutes(value: string, start: number): number | undefined {
  const sign = value.charCodeAt(start);
  if ((sign | 0x20) === 0x7a) return start + 1 === value.length ? 0 : undefined;
  if ((sign !== 0x2b && sign !== 0x2d) || start + 6 !== value.length) return undefined;
  const hours = digits(value, start + 1, 2);
  const minutes = digits(value, start + 4, 2);
  if (hours < 0 || hours > 23 || minutes < 0 || minutes > 59) return undefined;
  if (value.charCodeAt(start + 3) !== 0x3a) return undefined;
  return (hours * 60 + minutes) * (sign === 0x2d ? -1 : 1);
}

/** The number written in exactly `count` digits, -1 when they are not all digits. */
function digits(value: string, start: number, count: number): number {
  let number = 0;
  for (let at = start; at < start + count; at += 1) {
    const code = value.charCodeAt(at);
    if (!isDigit(code)) return -1;
    number = number * 10 + code - 0x30;
  }
  return number;
}

function isDigit(code: number): boolean {
  return code >= 0x30 && code <= 0x39;
}

function isLeapYear(year: number): boolean {
  return year % 4 === 0 && (year % 100 !== 0 || year % 400 === 0);
}
