// Which of larq-compute-engine's kernels runs the binary convolutions.
#ifndef BITAT_KERNEL_H_
#define BITAT_KERNEL_H_

constexpr char kKernel[] = "@KERNEL@";  // "indirect" where the network has grouped convolutions

#endif  // BITAT_KERNEL_H_
