// Package field acquires: one supervised task for each device and camera that
// the registry names, how every device fares, and what is heard of things that
// nobody has registered or bound.
package field
