// What stands in this file alone is different from network to network.
#ifndef BITAT_SETTINGS_H_
#define BITAT_SETTINGS_H_

#include "preprocess.h"

constexpr bitat::Scaling kScaling = {
    /*scale=*/{@SCALE@},
    /*offset=*/{@OFFSET@},
    /*reverse=*/@REVERSE@,
};
constexpr bool kTakesBytes = @BYTES@;  // 8-bit inputs are the pixels themselves, less 128 for int8, whatever their scale

#endif  // BITAT_SETTINGS_H_
