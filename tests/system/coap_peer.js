// node-coap against the broker: argv holds the port and a topic. Prints what it sees, one thing in a line.
const coap = require("coap");

const [port, topic] = process.argv.slice(2);
const to = (method, path, query, more) => ({ hostname: "127.0.0.1", port: Number(port), method, pathname: path, query, ...more });

let left = 2; // the notification and the answer to the PUT
const done = () => {
  left -= 1;
  if (left === 0) process.exit(0);
};

const watch = coap.request(to("GET", `/mqtt/${topic}`, "c=nodewatch", { observe: true }));
watch.on("response", (stream) => {
  let first = true;
  stream.on("data", (data) => {
    if (data.length > 0) {
      console.log(`seen ${data.length} ${data.subarray(0, 8)}`);
      done();
    }
    if (first) {
      first = false;
      console.log(`observing ${stream.code}`);
      const put = coap.request(to("PUT", `/mqtt/${topic}`, "c=nodeput"));
      put.on("response", (answer) => {
        console.log(`put ${answer.code}`);
        done();
      });
      put.end("fromnode");
    }
  });
});
watch.end();
