//! Apache ServiceComb service-center, over its v4 interface.
