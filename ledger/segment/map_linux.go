package segment

import "syscall"

// mapPopulate has the kernel read the whole file into the mapping at once.
const mapPopulate = syscall.MAP_POPULATE
