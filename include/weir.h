/**
 * All of weir's public headers, lowest layer first.
 */
#ifndef WEIR_H
#define WEIR_H

#include "weir/base.h"

#endif
