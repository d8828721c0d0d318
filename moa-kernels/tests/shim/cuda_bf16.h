// Stands for the header of CUDA; see half.h.
#pragma once
