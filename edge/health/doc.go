// Package health knows how the field fares: what came and what failed, how long
// answers took, which points have fallen silent, and for how long each device was
// online.
package health
