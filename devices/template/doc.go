// Package template makes registered things out of device templates: what an
// instrument of a certain make needs to be read, written down once, so that an
// engineer at a cabinet only fills in an address.
//
// # Format
//
// A template is one YAML file of at most 256 KiB, read strictly: an unknown
// key, a wrong kind of value, an anchor or alias is a fault, told with its line.
//
//	id: power-meter-generic         # [a-z0-9-]{1,64}; a file of the user's own replaces a shipped one of the same id
//	brand: generic                  # a maker is named only with a source
//	model: …
//	kind: power_meter
//	name: {zh: …, en: …}
//	help: {zh: …, en: …}            # what to look up in the manual, what to beware of
//	source: [https://…]             # register map or description that was read; required for a brand other than generic
//	driver: modbus                  # one of the gateway's drivers
//	connection: modbus              # parameters and device fields that go before the template's own: modbus, mqtt, broker, hj212
//	outlet_kind: other              # of an outlet made for it
//	parameters:                     # asked of the engineer, in this order
//	  - name: host                  # [a-z][a-z0-9_]*; the name of one of the connection's replaces it
//	    type: text                  # text, host, modbus (an endpoint), integer, number, boolean, choice, duration, secret
//	    label: {zh: …, en: …}
//	    help: {zh: …, en: …}
//	    unit: …                     # of a number
//	    default: …                  # absent: the engineer must give it, unless optional
//	    optional: true              # may be left empty; fields that hold nothing else are then left out
//	    example: 192.168.1.20
//	    choices: [{value: ABCD, zh: …, en: …}]
//	    min: 0
//	    max: 247
//	device:                         # fields of the API's Device except id, site, name and driver
//	  endpoint: modbus://${host}:${port}
//	  modbus: {unit: "${unit}"}
//	points:
//	  - id: pm10                    # local to its outlet
//	    name: {zh: …, en: …}
//	    factor: a34002              # HJ 212 code or a word of the trade
//	    unit: ug/m3
//	    min: 0
//	    max: 1000
//	    digits: 0
//	    labels: [{value: 1, zh: …, en: …}]
//	    repeat: "${channels}"       # as many of these, n = 1, 2, …
//	    binding:                    # fields of the API's Binding except id, point, device, from and to
//	      register: {table: holding, address: "${base + n*2 - 2}", type: uint16}
//	      scale: 0.1
//	limits:                         # suggestions; nothing is judged by them until somebody takes them over
//	  - id: pm10-day
//	    point: pm10
//	    level: upper
//	    value: 120
//	    averaging: day              # one that the gateway cannot judge yet is shown but not taken over
//	    standard: GB 3095-2026
//	    clause: …
//	    unchecked: true             # compare it with the printed standard first
//	    note: {zh: …, en: …}
//
// "${…}" holds the name of a parameter, or sums of products of names and
// numbers. Where it is the whole of a value, it keeps the parameter's type.
//
// Keys are only ever added; a template that this version does not understand
// is refused, never half understood.
package template
