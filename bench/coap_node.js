// A server of node-coap's, for bench.coap: one resource /bench that can be read, written and observed.
const coap = require("coap");

let content = Buffer.alloc(0);
const observers = new Set();

const server = coap.createServer((request, response) => {
  if (request.method === "PUT") {
    content = request.payload;
    response.code = "2.04";
    response.end();
    for (const observer of observers) observer.write(content);
  } else if (request.headers.Observe === 0) {
    observers.add(response);
    response.on("finish", () => observers.delete(response));
    response.write(content);
  } else {
    response.end(content);
  }
});

server.listen(Number(process.argv[2]), "127.0.0.1");
