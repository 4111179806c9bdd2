//! The segment log from outside: openraft's own suite, real folders, and every way a disk can fail.

mod damage;
mod faults;
mod folders;
mod random;
mod rig;
mod suite;
