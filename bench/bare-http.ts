/**
 * The limit of every ingress: a bare node:http server that reads the body and answers 202. A process of its own
 * that prints its port and serves until it is ended.
 */
import { createServer } from "node:http";

const server = createServer((request, response) => {
  const chunks: Buffer[] = [];
  request.on("data", (chunk: Buffer) => chunks.push(chunk));
  request.on("end", () => {
    Buffer.concat(chunks);
    response.writeHead(202, { "content-length": "0" }).end();
  });
});
server.listen(0, "127.0.0.1", () => {
  const address = server.address();
  const port = address !== null && typeof address === "object" ? address.port : 0;
  process.stdout.write(`${JSON.stringify({ port })}\n`);
});
