//! Header views and builders for the packets that tohub handles.
