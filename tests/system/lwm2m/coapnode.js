// coap-node as an LwM2M device: argv holds the port of the server and the name of the device. Prints what happens to
// it, one thing in a line; takes an object, an instance, a resource and a value to set, as JSON, in a line.
const readline = require("readline");
const SmartObject = require("smartobject");
const CoapNode = require("coap-node");

const [port, name] = process.argv.slice(2);
const objects = new SmartObject();
objects.init("temperature", 0, { sensorValue: 21.5, units: "Cel" });
objects.init("lightCtrl", 0, {
  onOff: {
    value: false,
    read: (callback) => callback(null, objects.get("lightCtrl", 0, "onOff").value),
    write: (value, callback) => {
      console.log(`switched ${value}`);
      callback(null, value);
    },
  },
});
const device = new CoapNode(name, objects, { lifetime: 300, version: "1.0", manuf: "somebody else" });
device.on("error", (error) => console.log(`error ${error}`));
device.register("127.0.0.1", Number(port), (error, answer) => console.log(`registered ${error || answer.status}`));
readline.createInterface(process.stdin).on("line", (line) => {
  const [object, instance, resource, value] = JSON.parse(line);
  objects.write(object, instance, resource, value, (error) => console.log(`set ${error}`));
});
