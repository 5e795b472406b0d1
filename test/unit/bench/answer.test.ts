import { expect, test } from "vitest";
import { AnswerReader } from "../../../bench/answer.ts";

/** The statuses found when the stream comes in these reads, all through one buffer. */
function read(chunks: readonly string[]): number[] {
  const statuses: number[] = [];
  const reader = new AnswerReader((status) => statuses.push(status));
  const buffer = Buffer.alloc(1000);
  for (const chunk of chunks) reader.push(buffer, buffer.write(chunk));
  return statuses;
}

const accepted = "HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\n\r\n";
const refused = "HTTP/1.1 503 Too busy\r\ncontent-length: 0\r\n\r\n";
const withBody = "HTTP/1.1 500 Oh dear \r\ncontent-length: 4\r\n\r\n";

test.each([
  { name: "the same over and over", chunks: [accepted, accepted, accepted], statuses: [202, 202, 202] },
  {
    name: "another one of the same length",
    chunks: [accepted, refused, accepted],
    statuses: [202, 503, 202],
  },
  {
    name: "several in one read",
    chunks: [accepted, accepted + refused, accepted + refused],
    statuses: [202, 202, 503, 202, 503],
  },
  {
    name: "one in pieces, after which the known one is part of another",
    chunks: [accepted, withBody, "abc", `d${accepted}`, accepted],
    statuses: [202, 500, 202, 202],
  },
  {
    name: "a body that reads like the known answer",
    chunks: [accepted, withBody.replace("4", `${accepted.length}`), accepted, accepted],
    statuses: [202, 500, 202],
  },
])("push must find $name", ({ chunks, statuses }) => {
  expect(read(chunks)).toEqual(statuses);
});
