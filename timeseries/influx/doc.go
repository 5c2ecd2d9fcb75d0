// Package influx keeps the history in an InfluxDB: 1.8, 2.x, or what takes the
// same writes and InfluxQL. It writes by the client library's blocking API,
// with lines of its own, and reads by InfluxQL on /query.
//
// # Format
//
//	reading,site=S,outlet=O,point=P v=1.5,q=0i 1767225600000
//
// The measurement is reading; the tags are site, outlet and point, where point
// is local to its outlet; v is always a float and q, the number of a
// devices.Quality, always an integer, both always present; times are Unix
// milliseconds. Fields and tags may be added in later versions, these never
// change.
package influx
